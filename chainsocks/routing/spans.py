"""Spans of whole numbers, such as networks and ranges of ports, and which of them a number lies in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from chainsocks.config.rules import Network

__all__ = ["AddressSpans", "Span", "Spans", "span_of"]

ValueT = TypeVar("ValueT")


class Span(NamedTuple):
    """All numbers from `first` to `last`; `size` is 4 or 16 for IP addresses, by their bytes, and 0 for others."""

    first: int
    last: int
    size: int = 0


def span_of(network: Network) -> Span:
    """Return the addresses of a network."""
    first = int(network.network_address)
    return Span(first, first + (1 << (network.max_prefixlen - network.prefixlen)) - 1, network.max_prefixlen // 8)


class Spans(Generic[ValueT]):
    """Values by spans: one bisection finds those of all spans that a number lies in.

    What is stored are the stretches between two ends, each with all values that hold there. So spans may overlap; where
    very many do, as networks cannot, that takes room.
    """

    __slots__ = ("_starts", "_values")

    def __init__(self, values: Mapping[Span, ValueT]) -> None:
        begins: dict[int, list[Span]] = {}
        ends: dict[int, list[Span]] = {}
        for span in values:
            begins.setdefault(span.first, []).append(span)
            ends.setdefault(span.last + 1, []).append(span)
        active: dict[Span, ValueT] = {}
        self._starts: list[int] = []
        self._values: list[tuple[ValueT, ...]] = [()]  # of what lies before the first one
        for start in sorted({*begins, *ends}):
            for span in ends.get(start, ()):
                del active[span]
            active.update((span, values[span]) for span in begins.get(start, ()))
            self._starts.append(start)
            self._values.append(tuple(active.values()))

    def at(self, number: int) -> Sequence[ValueT]:
        """Return the values of all spans that `number` lies in."""
        return self._values[bisect_right(self._starts, number)]


class AddressSpans(Generic[ValueT]):
    """Values by spans of IP addresses, of both kinds."""

    __slots__ = ("_four", "_six")

    def __init__(self, values: Mapping[Span, ValueT]) -> None:
        self._four = Spans({span: value for span, value in values.items() if span.size == 4})
        self._six = Spans({span: value for span, value in values.items() if span.size == 16})

    def at(self, ips: Iterable[bytes]) -> Sequence[ValueT]:
        """Return the values of all spans that one of `ips` lies in, each given as its 4 or 16 bytes."""
        found: Sequence[ValueT] = ()
        for ip in ips:
            spans = self._four if len(ip) == 4 else self._six
            here = spans.at(int.from_bytes(ip))
            found = (*found, *here) if found else here
        return found
