"""Numbers for names: kept as long as they are used, and bounded."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from chainsocks.tools.exec.names import KEPT, MOST, POOLS, Names


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_name_has_one_number_in_both_families(clock: Clock) -> None:
    names = Names(clock)
    assert names.addresses_of("a.test") == (IPv4Address("198.18.1.0"), IPv6Address("fd63:6861:696e:1::100"))
    assert names.addresses_of("b.test") == (IPv4Address("198.18.1.1"), IPv6Address("fd63:6861:696e:1::101"))
    assert names.addresses_of("a.test") == (IPv4Address("198.18.1.0"), IPv6Address("fd63:6861:696e:1::100"))
    for host, name in (("198.18.1.0", "a.test"), ("fd63:6861:696e:1::101", "b.test")):
        assert names.name_of(host) == name


@pytest.mark.parametrize("host", ["198.18.0.1", "198.18.1.1", "198.20.0.0", "192.0.2.1", "fd63:6861:696e::1", "::1"])
def test_other_addresses_have_no_name(clock: Clock, host: str) -> None:
    names = Names(clock)
    names.addresses_of("a.test")
    assert names.name_of(host) is None


def test_all_numbers_are_in_the_pools(clock: Clock) -> None:
    names = Names(clock)
    for number in range(MOST):
        last = names.addresses_of(f"{number}.test")
    assert last
    assert last[0] in POOLS[0]
    assert last[1] in POOLS[1]
    assert names.name_of(str(last[0])) == f"{MOST - 1}.test"
    assert names.addresses_of("one.more.test") is None


@pytest.mark.parametrize("use", ["looked up", "connected to", "in a session", ""])
def test_a_number_is_kept_while_it_is_used_and_longer(clock: Clock, use: str) -> None:
    names = Names(clock, most=2)
    first = names.addresses_of("a.test")
    assert first
    names.addresses_of("b.test")
    clock.now = KEPT - 1
    match use:
        case "looked up":
            names.addresses_of("a.test")
        case "connected to":
            names.name_of(str(first[0]))
        case "in a session":
            names.mark(["a.test", "unknown.test"])
    assert names.addresses_of("c.test") is None
    clock.now = KEPT
    found = names.addresses_of("c.test")
    assert found
    assert (found == first) is (not use)
    assert names.name_of(str(first[0])) == ("a.test" if use else "c.test")
    assert (names.addresses_of("d.test") is None) is bool(use)
