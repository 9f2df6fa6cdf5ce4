"""Which chain a program takes: one of its own, or what the file says; never none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chainsocks.config.listeners import Listener, ListenerKind
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.rules import Caller, Router
from chainsocks.tools.exec.way import carries_datagrams, config_inside, direct_ways

LISTENERS = (Address("127.198.18.1", 1081), Address("fd63:6861:696e::1", 1082))
FILE = """
[hops]
paris = "socks5://10.0.0.1"
lima = "socks5://10.0.0.2"
[chains]
default = ["paris"]
south = ["lima"]
[[rules]]
to = "refused.test"
deny = true
[[rules]]
to = "home.test"
chain = "direct"
[[rules]]
to = "south.test"
chain = "south"
"""


def inside(text: str = FILE, chain: str | None = None, *hops: str) -> Config:
    return config_inside(parse_config(text) if text else Config(), chain, hops, LISTENERS)


def way(config: Config, host: str) -> str | None:
    request = Request(Version.REDIRECTED, Command.CONNECT, Address(host, 80))
    chain = Router(config).decide(request, Caller("127.0.0.1")).chain
    return None if chain is None else str(chain)


@pytest.mark.parametrize(
    ("chain", "hops", "ways"),
    [
        (None, (), [None, "direct", "lima", "paris"]),
        ("south", (), [None, "lima", "lima", "lima"]),
        (None, ("socks5://10.0.0.3:1", "socks4://10.0.0.4:1"), [None, *["10.0.0.3:1 -> 10.0.0.4:1"] * 3]),
    ],
)
def test_with_a_chain_of_its_own_rules_can_only_deny(
    chain: str | None, hops: tuple[str, ...], ways: list[str | None]
) -> None:
    config = inside(FILE, chain, *hops)
    assert [way(config, f"{name}.test") for name in ("refused", "home", "south", "other")] == ways
    for host in ("198.18.1.0", "fd63:6861:696e:1::100"):
        assert way(config, host) is None  # no name has it


def test_a_rule_that_looks_names_up_does_not_with_a_chain_of_its_own() -> None:
    text = FILE + '[[rules]]\nto = "10.0.0.0/8"\nresolve = true\nchain = "south"\n'
    assert [rule.resolve for rule in inside(text).rules][-1]
    assert not any(rule.resolve for rule in inside(text, "south").rules)


def test_what_is_about_other_clients_is_left_out() -> None:
    file = parse_config(FILE + "[server]\nworkers = 2\nprivate = true\n[web]\nlisten = '127.0.0.1:1'\n")
    file = replace(file, users=(User("carol", PlainPassword(b"secret")),))
    config = config_inside(file, None, (), LISTENERS)
    assert config.server.listen == tuple(Listener(each, ListenerKind.REDIRECT) for each in LISTENERS)
    assert (config.server.workers, config.server.private, config.users, config.web.listen) == (1, False, (), None)


@pytest.mark.parametrize(
    ("text", "chain", "hops", "problem"),
    [
        ("", None, (), "there is no chain to send connections through"),
        ("[[rules]]\nchain = 'direct'", None, (), "there is no chain to send connections through"),
        ("[chains]\ndefault = { hops = 'direct' }", None, (), "there is no chain to send connections through"),
        (FILE, "sout", (), "--chain: no chain is called sout; did you mean 'south'?"),
        (FILE, "nowhere", (), "--chain: no chain is called nowhere; the file has default, south"),
        ("", "south", (), "--chain: no chain is called south; the file has none"),
        (FILE, "direct", (), "--chain: direct has no hops: it is no chain; nothing was run"),
        ("", None, ("gopher://10.0.0.1",), "--hop: unknown scheme 'gopher'"),
    ],
)
def test_without_a_chain_nothing_is_run(text: str, chain: str | None, hops: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        inside(text, chain, *hops)
    assert problem in str(caught.value)


def test_a_rule_may_be_all_that_leads_to_a_chain() -> None:
    config = inside(FILE.replace('default = ["paris"]', 'other = ["paris"]'))
    assert way(config, "other.test") is None
    assert way(config, "south.test") == "lima"


def test_what_goes_direct_is_named() -> None:
    assert direct_ways(inside()) == 'goes direct, past all chains: rule 2 (to = ["home.test"], chain = "direct")'
    assert direct_ways(inside(FILE, "south")) == ""
    text = FILE.replace('default = ["paris"]', 'default = { hops = "direct" }\nother = ["paris"]')
    assert direct_ways(inside(text)).endswith('chain = "direct"); what no rule matches')


@pytest.mark.parametrize(
    ("text", "chain", "hops", "carries"),
    [
        ("", None, ("socks5://10.0.0.1", "socks5://10.0.0.2"), True),
        ("", None, ("socks5://10.0.0.1", "socks4://10.0.0.2"), False),
        (FILE, "south", (), True),
        (FILE, None, (), False),  # a rule goes direct
        (FILE.replace('"direct"', '"south"'), None, (), True),
        (FILE.replace('south = ["lima"]', 'south = { hops = ["lima"], udp = "refuse" }'), "south", (), False),
    ],
)
def test_whether_datagrams_are_taken(text: str, chain: str | None, hops: tuple[str, ...], *, carries: bool) -> None:
    assert carries_datagrams(inside(text, chain, *hops)) is carries
