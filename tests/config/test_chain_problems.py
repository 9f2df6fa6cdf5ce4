"""Settings of a chain that its hops cannot have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.load import parse_config
from chainsocks.config.tls import Tls
from chainsocks.errors import ConfigError


def test_no_warm_ways_that_would_tell_of_a_client() -> None:
    complaint = "warm ways are opened before their clients are known, which send_proxy tells of"
    with pytest.raises(ValueError, match=complaint):
        Chain("socks5://a", warm=1, send_proxy=True)
    text = '[hops]\na = "socks5://a"\n[chains]\nx = { hops = ["a"], warm = 1, send_proxy = true }\n'
    with pytest.raises(ConfigError, match=rf"chains\.x\.warm: {complaint}"):
        parse_config(text)


def test_no_warm_ways_without_hops() -> None:
    with pytest.raises(ValueError, match="the chain has no hops"):
        Chain(warm=1)


@pytest.mark.parametrize("isolate", [each for each in Isolate if each not in (Isolate.OFF, Isolate.SESSION)])
@pytest.mark.parametrize("in_group", [False, True])
def test_no_warm_ways_whose_login_depends_on_the_session(isolate: Isolate, *, in_group: bool) -> None:
    tor = Hop("tor", "socks5", "127.0.0.1:9050", isolate=isolate)
    places = ("socks5://a", Group("socks5://b", tor) if in_group else tor)
    with pytest.raises(ValueError, match=f'hop tor has a login for each {isolate}; give the hop isolate = "session"'):
        Chain(*places, warm=1)
    assert Chain(*places).isolates
    assert Chain(Hop("tor", "socks5", "127.0.0.1:9050", isolate="session"), warm=1).warm == 1


def test_the_file_says_so_at_the_key() -> None:
    text = '[hops]\ntor = { url = "socks5://a", isolate = "user" }\n[chains]\nx = { hops = ["tor"], warm = 1 }\n'
    with pytest.raises(ConfigError, match=r"chains\.x\.warm: warm ways are opened before their sessions are known"):
        parse_config(text)


TLS_A, TLS_B = "socks5+tls://a", "https://b"


SEALS: dict[str, tuple[tuple[object, ...], dict[str, object], str]] = {
    "no TLS": ((TLS_A, "socks5://b"), {}, "hop b:1080 is not spoken to in TLS, so the hops before it could read all"),
    "no TLS at first": (("socks5://a", TLS_B), {}, "hop a:1080 is not spoken to in TLS"),
    "in a group": ((TLS_A, Group(TLS_B, "http://c")), {}, "hop c:80 is not spoken to in TLS"),
    "local names": (
        (TLS_A, Hop("b", "socks5", "b", tls=Tls(), resolve="local")),
        {},
        'hop b has resolve = "local", which shows names to the local resolver',
    ),
    "a resolver": ((TLS_A,), {"resolver": "192.0.2.53"}, "the last hop resolves names; take resolver out"),
    "send_proxy": ((TLS_A,), {"send_proxy": True}, "send_proxy tells of the client in the clear, before TLS"),
    "no hops": ((), {}, "the chain has no hops"),
}


@pytest.mark.parametrize(("hops", "more", "problem"), SEALS.values(), ids=SEALS)
def test_what_a_seal_refuses(hops: tuple[Any, ...], more: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Chain(*hops, seal=True, **more)
    assert not Chain(*hops, **more).seal
