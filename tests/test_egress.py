"""The values of ``source``, ``interface``, ``mark`` and ``family``."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.egress import Egress, Family, Same, as_interface, as_mark, as_source, egress_of, parse_source
from chainsocks.protocol.address import Address

FOUR, SIX = Address("192.0.2.5", 0), Address("2001:db8::5", 0)
TO_FOUR, TO_SIX = Address("198.51.100.9", 80), Address("2001:db8::9", 80)


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ("same", Same.SAME),
        (["same"], Same.SAME),
        ("192.0.2.5", (FOUR,)),
        (ip_address("2001:db8::5"), (SIX,)),
        (Address("192.0.2.5", 99), (FOUR,)),
        (["192.0.2.5", "2001:db8::5"], (FOUR, SIX)),
        ("::ffff:192.0.2.5", (FOUR,)),
        ((), ()),
    ],
)
def test_a_source_is_given_in_many_forms(given: object, source: object) -> None:
    assert as_source(given) == source
    assert as_source(source) == source


@pytest.mark.parametrize("text", ["", "example.org", "192.0.2.5:80", "0.0.0.0", "::", "Same", "192.0.2.0/24"])
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(ValueError, match='expected an IP address of this machine, without a port, or "same"'):
        parse_source(text)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["192.0.2.5", "192.0.2.6"], "one IPv4 address at most"),
        (["same", "192.0.2.6"], '"same" stands alone'),
        (5, "source is of type int"),
    ],
)
def test_sources_that_do_not_fit(given: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        as_source(given)


def test_a_source_is_for_its_family() -> None:
    both, four = Egress((FOUR, SIX)), Egress((FOUR,))
    assert (both.source_for(TO_FOUR), both.source_for(TO_SIX)) == (FOUR, SIX)
    assert (four.source_for(TO_FOUR), four.source_for(TO_SIX)) == (FOUR, None)
    assert (four.reaches(TO_FOUR), four.reaches(TO_SIX)) == (True, False)
    for any_ in (Egress(), Egress(Same.SAME), Egress(mark=1)):
        assert any_.source_for(TO_FOUR) is None
        assert any_.reaches(TO_SIX)


def test_it_is_shown_as_it_is_written() -> None:
    assert str(Egress((FOUR, SIX), "eth0", 7)) == "source 192.0.2.5 2001:db8::5, interface eth0, mark 7"
    assert str(Egress(Same.SAME)) == "source same"


def test_without_any_of_it_there_is_none() -> None:
    assert egress_of((), None, None) is None
    assert egress_of((), None, 5) == Egress(mark=5)


@pytest.mark.parametrize("value", ["", "a b", "a/b", "eth0:1", "x" * 16, 5])
def test_what_is_no_interface(value: object) -> None:
    with pytest.raises(ValueError, match="interface"):
        as_interface(value)


@pytest.mark.parametrize("value", [0, -1, 2**32, True, "7", 1.5])
def test_what_is_no_mark(value: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 1 to 4294967295"):
        as_mark(value)


@pytest.mark.parametrize(
    ("family", "arranged"),
    [
        (Family.PREFER_IPV4, [TO_FOUR, TO_SIX]),
        (Family.PREFER_IPV6, [TO_SIX, TO_FOUR]),
        (Family.IPV4, [TO_FOUR]),
        (Family.IPV6, [TO_SIX]),
    ],
)
def test_a_family_chooses_and_orders(family: Family, arranged: list[Address]) -> None:
    assert family.arrange([TO_SIX, TO_FOUR]) == family.arrange([TO_FOUR, TO_SIX]) == arranged


def test_a_mapped_address_is_of_ipv4() -> None:
    mapped = Address("::ffff:192.0.2.9", 80)
    assert Family.IPV4.allows(mapped)
    assert not Family.IPV6.allows(mapped)


def test_a_session_puts_its_address_into_hops_that_stay_the_same() -> None:
    hop = Hop("paris", "socks5", "10.0.0.1:1080", source="same", mark=7)
    chain = Chain(hop, "socks5://osaka.example")
    assert chain.needs_arrival
    changed = chain.leaving_from(FOUR)
    assert not changed.needs_arrival
    first, second = changed.hops
    assert isinstance(first, Hop)
    assert first.egress == Egress((FOUR,), mark=7)
    assert first.identity == hop.identity
    assert first.contact == hop.contact
    assert second == chain.hops[1]
    assert changed.route
    assert changed.route.hops == changed.hops


def test_a_session_puts_its_address_into_the_way_without_hops() -> None:
    direct = Chain(name="direct", source="same", interface="eth0")
    assert direct.leaving_from(FOUR).egress == Egress((FOUR,), "eth0")


def test_the_way_out_makes_another_hop_of_the_same_proxy() -> None:
    cable, radio = (Hop(name, "socks5", "10.0.0.1:1080", interface=name) for name in ("eth0", "wwan0"))
    assert cable.identity != radio.identity
    assert cable.contact != radio.contact
