"""Options of the library, as users write them: what has one meaning is converted, the rest is an error at once."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from chainsocks import Address, Chain, Group, Gssapi, Hop, Protection, Timeouts, UserId, UsernamePassword
from chainsocks.config.choices import Isolate, NamesOnly, Pick, Pipeline, Resolve, Udp, UdpRelay
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import TimeoutKeywords
from chainsocks.config.options import as_text, shown

PLACE = Address("paris.example", 1080)
SECRET = "wonder/land"
"""In no message."""


class Number:
    """A number of a type of its own, as numpy has them."""

    def __float__(self) -> float:
        return 2.5

    def __index__(self) -> int:
        return 1


def hop(**options: Any) -> Hop:
    return Hop(**{"name": "paris", "protocol": "socks5", "address": PLACE, **options})


def chain(**options: Any) -> Chain:
    return Chain("socks5://a", "socks5://b", **options)


def group(**options: Any) -> Group:
    return Group("socks5://a", "socks5://b", **options)


@pytest.mark.parametrize(
    ("make", "option", "given", "value"),
    [
        (hop, "protocol", "socks4a", HopProtocol.SOCKS4A),
        (hop, "address", "paris.example:1080", PLACE),
        (hop, "address", "paris.example", PLACE),
        (hop, "address", ("paris.example", "1080"), PLACE),
        (hop, "address", [b"paris.example", 1080], PLACE),
        (hop, "address", "[::1]:9050", Address("::1", 9050)),
        (hop, "address", (IPv4Address("192.0.2.1"), 9050), Address("192.0.2.1", 9050)),
        (hop, "credentials", ("u", "p"), UsernamePassword(b"u", b"p")),
        (hop, "credentials", ["ü", b""], UsernamePassword("ü".encode(), b"")),
        (hop, "credentials", UsernamePassword("u", "p"), UsernamePassword(b"u", b"p")),
        (partial(hop, protocol="socks4"), "credentials", UserId("fred"), UserId(b"fred")),
        (hop, "timeout", 5, 5.0),
        (hop, "timeout", math.inf, math.inf),
        (hop, "timeout", Decimal("0.5"), 0.5),
        (hop, "resolve", "local", Resolve.LOCAL),
        (hop, "pipeline", "chain", Pipeline.CHAIN),
        (hop, "isolate", "destination", Isolate.DESTINATION),
        (hop, "udp_relay", "reported", UdpRelay.REPORTED),
        (hop, "udp_relay", "192.0.2.1:5", Address("192.0.2.1", 5)),
        (hop, "udp_relay", IPv4Address("192.0.2.1"), Address("192.0.2.1", 0)),
        (chain, "udp", "refuse", Udp.REFUSE),
        (chain, "udp", "nested", Udp.NESTED),
        (chain, "resolver", "9.9.9.9", Address("9.9.9.9", 53)),
        (chain, "resolver", ("9.9.9.9", 5353), Address("9.9.9.9", 5353)),
        (chain, "names_only", "refuse", NamesOnly.REFUSE),
        (chain, "pipeline", "hop", Pipeline.HOP),
        (chain, "warm", Number(), 1),
        (chain, "warm_age", math.inf, math.inf),
        (chain, "dial", Number(), 2.5),
        (chain, "hedge", Fraction(1, 2), 0.5),
        (partial(chain, skip_dead=True), "length", Number(), 1),
        (group, "pick", "round-robin", Pick.ROUND_ROBIN),
        (group, "weights", [1, 2], (1.0, 2.0)),
        (group, "check", math.inf, None),
        (group, "check_target", "example.org:443", Address("example.org", 443)),
        (Timeouts, "dial", None, math.inf),
        (Timeouts, "dial", 7, 7.0),
        (Timeouts, "dial", Number(), 2.5),
        (Timeouts, "grace", 0, 0.0),
        (Gssapi, "protection", "confidentiality", Protection.CONFIDENTIALITY),
        (Gssapi, "protection", "none", Protection.NONE),
    ],
)
def test_what_has_one_meaning(make: Callable[..., object], option: str, given: Any, value: object) -> None:
    made = make(**{option: given})
    assert getattr(made, option) == value
    assert type(getattr(made, option)) is type(value)


NOT_A_CHOICE = [None, True, 1, "", "both", "Off", b"off", [], {}, object()]
NOT_SECONDS = ["5", b"5", -1, 0, -0.0, math.nan, -math.inf, True, [5], 10**400 * -1, 1j]
NOT_A_FLAG = ["no", "yes", 0, 1, None, [], "true"]
NOT_AN_ADDRESS = [7, b"a:1", "", "a b:1", ("a",), ("a", 1, 2), ("a", None), ("a", 70000), {}, ("ü..x", 1), object()]


@pytest.mark.parametrize(
    ("make", "option", "wrong"),
    [
        (hop, "name", [None, 7, b"paris"]),
        (hop, "protocol", [*NOT_A_CHOICE, "socks", "SOCKS5", Resolve.LOCAL, HopProtocol]),
        (hop, "address", [*NOT_AN_ADDRESS, None, "socks5://a:1", "a:b:c", f"a:1080:u:{SECRET}", f"u:{SECRET}@a:1"]),
        (hop, "credentials", [SECRET, (SECRET,), ("u", SECRET, 1), ("u", None), (None, "p"), 7, {"u": SECRET}, True]),
        (hop, "credentials", [UserId("fred"), ("u" * 256, "p"), UsernamePassword("u", "p" * 256), UsernamePassword]),
        (partial(hop, protocol="socks4a"), "credentials", [("u", SECRET), UsernamePassword("u", SECRET), Gssapi()]),
        (partial(hop, protocol="socks4"), "credentials", [UserId("u" * 513), UserId("a\0b"), "fred", b"fred"]),
        (hop, "timeout", [*NOT_SECONDS, SECRET]),
        (hop, "resolve", NOT_A_CHOICE),
        (hop, "pipeline", [each for each in NOT_A_CHOICE if each is not None]),
        (hop, "tor", NOT_A_FLAG),
        (hop, "isolate", NOT_A_CHOICE),
        (hop, "udp_relay", [None, 7, "", "somewhere", "0.0.0.0", "paris.example:1", Address("paris.example", 1), []]),
        (chain, "name", [None, 7, b"x"]),
        (chain, "dial", NOT_SECONDS),
        (chain, "udp", [each for each in NOT_A_CHOICE if each is not None]),
        (chain, "resolver", NOT_AN_ADDRESS),
        (chain, "names_only", NOT_A_CHOICE),
        (chain, "hedge", NOT_SECONDS),
        (chain, "skip_dead", NOT_A_FLAG),
        (partial(chain, skip_dead=True), "length", [0, 3, "1", 1.0, True, []]),
        (chain, "pipeline", NOT_A_CHOICE),
        (chain, "warm", [-1, 1001, "1", 1.0, True, [], None]),
        (chain, "warm_idle", NOT_SECONDS),
        (chain, "warm_age", [*NOT_SECONDS, None]),
        (group, "name", [None, 7]),
        (group, "pick", NOT_A_CHOICE),
        (group, "weights", ["12", 2, (1,), {1: 2}, *((1, odd) for odd in (0, -1, math.nan, math.inf, "2", True))]),
        (group, "hedge", NOT_SECONDS),
        (group, "retry_refused", NOT_A_FLAG),
        (group, "check", NOT_SECONDS),
        (group, "check_target", [*NOT_AN_ADDRESS, "example.org"]),
        *(
            (Timeouts, each.name, [*(NOT_SECONDS if each.name != "grace" else [-1, "5", math.nan]), "off", object()])
            for each in dataclasses.fields(Timeouts)
        ),
        (Gssapi, "protection", [None, True, 1, "", "INTEGRITY", "selective", Protection.SELECTIVE, []]),
        (Gssapi, "service", [None, 7, "", b"rcmd"]),
        (Gssapi, "host", [7, "", b"host"]),
    ],
)
def test_everything_else_is_an_error_at_once(make: Callable[..., object], option: str, wrong: list[Any]) -> None:
    for value in wrong:
        with pytest.raises(ValueError, match=r"\w+ \w+") as caught:
            make(**{option: value})
        message = str(caught.value)
        assert SECRET not in message
        assert message.isprintable()
        assert not isinstance(caught.value, UnicodeError)


@pytest.mark.parametrize("kind", [Chain, Group])
def test_members_that_are_none(kind: type[Chain] | type[Group]) -> None:
    urls = [f"socks5://u:{SECRET}@a", "socks5://b"]
    for wrong in (urls, tuple(urls), iter(urls), set(urls), (url for url in urls)):
        with pytest.raises(ValueError, match=rf"one by one, not as a \w+; write {kind.__name__}\(\*hops\)") as caught:
            kind(wrong)  # type: ignore[arg-type]
        assert SECRET not in str(caught.value)
    with pytest.raises(ValueError, match=rf"a chain is no member .*; write {kind.__name__}\(\*chain.hops\)"):
        kind(Chain(urls[1]))  # type: ignore[arg-type]
    for other in (None, b"socks5://b", 7, PLACE, Hop, {"a": SECRET}):
        with pytest.raises(ValueError, match=r'write a URL, such as "socks5://.*", a Hop or a Group'):
            kind(other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "parts"),
    [(UserId, ["user_id"]), (UsernamePassword, ["username", "password"])],
)
def test_logins(make: Callable[..., object], parts: list[str]) -> None:
    for wrong in (None, 7, ["u"], "\ud800"):
        for part in parts:
            with pytest.raises(ValueError, match=rf"^the {part.replace('_', ' ')} "):
                make(**dict.fromkeys(parts, SECRET) | {part: wrong})
    made = make(**dict.fromkeys(parts, SECRET))
    assert SECRET not in repr(made)
    assert pickle.loads(pickle.dumps(made)) == made
    assert dataclasses.replace(made) == made  # type: ignore[type-var]


def test_a_limit_that_there_is_not() -> None:
    with pytest.raises(TypeError, match="Timeouts has no limit 'dail'; did you mean 'dial'"):
        Timeouts(dail=3)  # type: ignore[call-arg]


def test_values_made_of_options_are_values() -> None:
    for value in (
        hop(credentials=("u", "p"), timeout=3),
        chain(udp="refuse"),
        group(weights=[1, 2]),
        Timeouts(dial=None),
    ):
        assert pickle.loads(pickle.dumps(value)) == value
    assert dataclasses.replace(hop(isolate="user"), timeout=7) == hop(isolate="user", timeout=7)
    assert dataclasses.replace(Timeouts(dial=None), hop=3) == Timeouts(dial=None, hop=3)


def test_a_limit_for_every_keyword_of_timeouts() -> None:
    from_types = Timeouts.__init__.__annotations__["limits"]
    assert "TimeoutKeywords" in str(from_types)
    assert {each.name for each in dataclasses.fields(Timeouts)} == set(TimeoutKeywords.__annotations__)


def test_what_is_shown() -> None:
    assert shown("off") == "'off'"
    assert SECRET not in shown(SECRET)
    values: list[object] = [None, 7, []]
    assert [shown(value) for value in values] == ["None", "7", "a value of type list"]
    assert as_text("a", "name") == "a"
    with pytest.raises(ValueError, match=r"^name is a value of type PosixPath; write a text$"):
        as_text(Path(), "name")
