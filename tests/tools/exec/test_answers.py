"""What the name server inside answers, held against dnspython."""

from __future__ import annotations

import dns.message
import dns.rcode
import dns.reversename
import pytest

from chainsocks.protocol.dns import Query
from chainsocks.server.name_server import Later
from chainsocks.tools.exec.answers import TTL, answer
from chainsocks.tools.exec.names import Names


@pytest.fixture
def names() -> Names:
    return Names(lambda: 0.0, most=2)


def nothing(query: Query, message: bytes) -> None:
    """There is no resolver."""


def ask(names: Names, name: str, kind: str) -> list[str] | str:
    """Return the records of the answer, or its code."""
    asked = dns.message.make_query(name, kind)
    answered = answer(asked.to_wire(), names, nothing)
    assert isinstance(answered, bytes)
    response = dns.message.from_wire(answered)
    assert asked.is_response(response)
    if response.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(response.rcode())
    assert all(each.ttl == TTL for each in response.answer)
    return [str(record) for each in response.answer for record in each]


def test_a_name_has_addresses_of_the_pool(names: Names) -> None:
    assert ask(names, "a.test", "A") == ["198.18.1.0"]
    assert ask(names, "A.TEST", "AAAA") == ["fd63:6861:696e:1::100"]
    assert names.name_of("198.18.1.0") == "a.test"


@pytest.mark.parametrize("address", ["198.18.1.0", "fd63:6861:696e:1::100"])
def test_an_address_of_the_pool_has_its_name(names: Names, address: str) -> None:
    pointer = dns.reversename.from_address(address).to_text()
    assert ask(names, pointer, "PTR") == []
    ask(names, "a.test", "A")
    assert ask(names, pointer, "PTR") == ["a.test."]


@pytest.mark.parametrize(
    "pointer",
    [
        "80.2.0.192.in-addr.arpa",
        "0.1.18.198.in-addr.arpa.test",
        "1.18.198.in-addr.arpa",
        "x.y.in-addr.arpa",
        "ip6.arpa",
        "a",
    ],
)
def test_other_pointers_have_nothing(names: Names, pointer: str) -> None:
    ask(names, "a.test", "A")
    assert ask(names, pointer, "PTR") == []


@pytest.mark.parametrize("kind", ["MX", "TXT", "SRV", "HTTPS", "ANY", "NS"])
def test_of_other_types_there_is_nothing(names: Names, kind: str) -> None:
    assert ask(names, "a.test", kind) == []


def test_localhost_is_this_machine(names: Names) -> None:
    assert ask(names, "localhost", "A") == ["127.0.0.1"]
    assert ask(names, "x.localhost", "AAAA") == ["::1"]
    assert ask(names, ".", "A") == []


def test_when_all_numbers_are_in_use_the_server_fails(names: Names) -> None:
    assert ask(names, "a.test", "A") == ["198.18.1.0"]
    assert ask(names, "b.test", "A") == ["198.18.1.1"]
    assert ask(names, "c.test", "A") == "SERVFAIL"
    assert ask(names, "a.test", "A") == ["198.18.1.0"]


def test_garbage_is_passed_over(names: Names) -> None:
    assert answer(b"", names, nothing) is None


@pytest.mark.parametrize(
    ("name", "kind", "onward"),
    [
        ("a.test", "MX", True),
        ("80.2.0.192.in-addr.arpa", "PTR", True),
        ("a.test", "A", False),
        (".", "NS", False),
        ("0.1.18.198.in-addr.arpa", "PTR", False),
    ],
)
def test_other_types_may_be_asked_elsewhere(names: Names, name: str, kind: str, *, onward: bool) -> None:
    names.addresses_of("a.test")
    asked: list[str] = []

    async def later() -> bytes:
        return b""

    def ask(query: Query, message: bytes) -> Later:
        asked.append(query.name)
        return later

    answered = answer(dns.message.make_query(name, kind).to_wire(), names, ask)
    assert (answered is later) is onward
    assert asked == ([name] if onward else [])
