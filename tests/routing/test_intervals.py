"""Intervals of numbers: which ones contain a number."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from chainsocks.routing.intervals import AddressIntervals, Interval, Intervals, interval_of

small = st.builds(lambda one, other: Interval(min(one, other), max(one, other)), *[st.integers(0, 20)] * 2)


@given(st.dictionaries(small, st.integers()), st.integers(-1, 22))
def test_a_number_is_in_all_spans_around_it(values: dict[Interval, int], number: int) -> None:
    expected = [value for interval, value in values.items() if interval.first <= number <= interval.last]
    assert sorted(Intervals(values).at(number)) == sorted(expected)


def test_addresses_of_both_kinds_are_apart() -> None:
    networks = ["10.0.0.0/8", "10.0.0.0/24", "0.0.0.0/0", "::/0", "::a00:0/104"]
    intervals = AddressIntervals({interval_of(ip_network(each)): each for each in networks})

    def at(*ips: str) -> set[str]:
        return set(intervals.at(ip_address(ip).packed for ip in ips))

    assert at("10.0.0.1") == {"10.0.0.0/8", "10.0.0.0/24", "0.0.0.0/0"}
    assert at("10.255.255.255") == {"10.0.0.0/8", "0.0.0.0/0"}
    assert at("9.255.255.255") == at("11.0.0.0") == at("255.255.255.255") == {"0.0.0.0/0"}
    assert at("::a00:1") == {"::a00:0/104", "::/0"}
    assert at("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == {"::/0"}
    assert at("11.0.0.0", "ffff::") == {"0.0.0.0/0", "::/0"}
    assert at() == set()
