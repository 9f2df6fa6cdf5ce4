"""Intervals of whole numbers, such as networks and ranges of ports: find all that contain a number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from chainsocks.config.rules import Network

__all__ = ["AddressIntervals", "Interval", "Intervals", "interval_of"]

ValueT = TypeVar("ValueT")


class Interval(NamedTuple):
    """All numbers from `first` to `last`; `size` is 4 or 16 for IP addresses, by their bytes, and 0 for others."""

    first: int
    last: int
    size: int = 0


def interval_of(network: Network) -> Interval:
    """Return the addresses of a network."""
    first = int(network.network_address)
    return Interval(first, first + (1 << (network.max_prefixlen - network.prefixlen)) - 1, network.max_prefixlen // 8)


class Intervals(Generic[ValueT]):
    """A map from intervals to values: one bisection finds the values of all intervals that contain a number.

    The numbers are cut at every end of an interval, and each piece stores all values that hold in it. So intervals may
    overlap. Where very many overlap, which networks cannot, that takes memory.
    """

    __slots__ = ("_starts", "_values")

    def __init__(self, values: Mapping[Interval, ValueT]) -> None:
        begins: dict[int, list[Interval]] = {}
        ends: dict[int, list[Interval]] = {}
        for interval in values:
            begins.setdefault(interval.first, []).append(interval)
            ends.setdefault(interval.last + 1, []).append(interval)
        active: dict[Interval, ValueT] = {}
        self._starts: list[int] = []
        self._values: list[tuple[ValueT, ...]] = [()]  # of what lies before the first one
        for start in sorted({*begins, *ends}):
            for interval in ends.get(start, ()):
                del active[interval]
            active.update((interval, values[interval]) for interval in begins.get(start, ()))
            self._starts.append(start)
            self._values.append(tuple(active.values()))

    def at(self, number: int) -> Sequence[ValueT]:
        """Return the values of all intervals that contain `number`."""
        return self._values[bisect_right(self._starts, number)]


class AddressIntervals(Generic[ValueT]):
    """`Intervals` of IP addresses, IPv4 and IPv6."""

    __slots__ = ("_four", "_six")

    def __init__(self, values: Mapping[Interval, ValueT]) -> None:
        self._four = Intervals({interval: value for interval, value in values.items() if interval.size == 4})
        self._six = Intervals({interval: value for interval, value in values.items() if interval.size == 16})

    def at(self, ips: Iterable[bytes]) -> Sequence[ValueT]:
        """Return the values of all intervals that contain one of `ips`, each given as its 4 or 16 bytes."""
        found: Sequence[ValueT] = ()
        for ip in ips:
            intervals = self._four if len(ip) == 4 else self._six
            here = intervals.at(int.from_bytes(ip))
            found = (*found, *here) if found else here
        return found
