"""The connections and UDP sockets that this process has opened, so that one is known that nftables hands back to it.

It is kept only where a listener is for what nftables redirects: without that, nothing comes back.

1. A connection is known for some seconds by its source and its destination. It is handed back as it is made.
2. A UDP socket is known by its port for as long as it is open.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from chainsocks.protocol.address import Address, SockAddr, address_of

__all__ = ["Outgoing"]

_MEMORY = 10


class Outgoing:
    """See the module."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._connections = OrderedDict[tuple[Address, Address], float]()  # the oldest first
        self._ports = Counter[int]()

    def note(self, source: SockAddr, destination: Address) -> None:
        """Note a connection that is being made."""
        now, key = self._now(), (address_of(source), destination)
        self._connections.pop(key, None)
        self._connections[key] = now
        while (oldest := next(iter(self._connections.items())))[1] < now - _MEMORY:
            del self._connections[oldest[0]]

    def has(self, source: Address, destination: Address) -> bool:
        """Return whether a connection is one of ours."""
        return self._connections.get((source, destination), -math.inf) >= self._now() - _MEMORY

    def note_udp(self, port: int) -> Callable[[], None]:
        """Note a UDP socket by its port; return what to call once it is closed."""
        self._ports[port] += 1

        def closed() -> None:
            self._ports[port] -= 1
            if not self._ports[port]:
                del self._ports[port]

        return closed

    def has_udp(self, port: int) -> bool:
        """Return whether a UDP socket with this port is ours, if it is on this machine."""
        return port in self._ports
