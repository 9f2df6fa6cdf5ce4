"""Addresses of our own for the names that a program looks up, so that its connections can be told by name.

1. A name has one number, which gives it an IPv4 address (of 198.18.0.0/15, RFC 2544) and an IPv6 address (of a prefix
   of RFC 4193). The program connects to either, and the name goes down the chain.
2. A name keeps its number while a session to it runs, and `KEPT` seconds longer; also since it was last looked up. The
   program may remember the address for that long.
3. There are `MOST` numbers. When all are in use, a further name has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["KEPT", "MOST", "POOLS", "Names"]

POOLS = (IPv4Network("198.18.0.0/15"), IPv6Network("fd63:6861:696e:1::/64"))

MOST = 2**16
KEPT = 600.0

_FIRST = 256
"""Of each pool; the numbers before it are no names, but the machine itself."""


class Names:
    """The names that have a number; `now` is the time in seconds."""

    def __init__(self, now: Callable[[], float], most: int = MOST) -> None:
        self._now = now
        self._most = most
        self._numbers: dict[str, int] = {}  # the one that was used last at the end
        self._names: dict[int, str] = {}
        self._used: dict[str, float] = {}

    def addresses_of(self, name: str) -> tuple[IPv4Address, IPv6Address] | None:
        """Return the addresses of a name, which has a number from now on; None if all are in use."""
        number = self._numbers.get(name)
        if number is None:
            number = self._free_number()
            if number is None:
                return None
            self._names[number] = name
        self._use(name, number)
        place = _FIRST + number
        return POOLS[0][place], POOLS[1][place]

    def name_of(self, host: str) -> str | None:
        """Return the name that has an IP address; None if none has."""
        ip = ip_address(host)
        for pool in POOLS:
            if ip.version == pool.version and ip in pool:
                number = int(ip) - int(pool.network_address) - _FIRST
                name = self._names.get(number)
                if name is not None:
                    self._use(name, number)
                return name
        return None

    def mark(self, names: Iterable[str]) -> None:
        """Note the names of the sessions that run; called more often than every `KEPT` seconds."""
        for name in names:
            if (number := self._numbers.get(name)) is not None:
                self._use(name, number)

    def _use(self, name: str, number: int) -> None:
        self._numbers.pop(name, None)
        self._numbers[name] = number
        self._used[name] = self._now()

    def _free_number(self) -> int | None:
        if len(self._numbers) < self._most:
            return len(self._numbers)
        oldest = next(iter(self._numbers))
        if self._now() - self._used[oldest] < KEPT:
            return None
        del self._used[oldest]
        return self._numbers.pop(oldest)
