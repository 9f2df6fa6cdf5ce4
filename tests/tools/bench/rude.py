"""Proxies that do not work, and what the far end counts meanwhile."""

from __future__ import annotations

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.target import Kind, Target, What
from chainsocks.tools.bench.way import Way
from tests.background import wait_until

ANSWERS = (b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6))
"""Of a hop that needs no login and grants everything."""


def way_through(address: Address) -> Way:
    """The way through one hop."""
    return Way("rude", (Hop("rude", HopProtocol.SOCKS5, address),))


class Growth:
    """What the far end counts from now on, for some kinds together."""

    def __init__(self, target: Target, *kinds: Kind) -> None:
        self._target = target
        self._kinds = kinds
        self._before = self._read()

    def _read(self) -> list[int]:
        read = self._target.counters.read
        return [sum(read(kind, what) for kind in self._kinds) for what in What]

    def of(self, what: What) -> int:
        return self.all[what]

    @property
    def all(self) -> list[int]:
        """In the order of `What`."""
        return [after - before for before, after in zip(self._before, self._read(), strict=True)]

    def wait_for(self, what: What, amount: int) -> None:
        wait_until(lambda: self.of(what) >= amount)
        assert self.of(what) == amount
