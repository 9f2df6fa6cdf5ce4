"""Which session without a complete request ends next, to make room: the oldest of the client that has the most of them.

1. A session has `PATIENCE` to receive its request. Many connections that come at once, and would all send their
   requests, do not end one another in that time.
2. A client that had a session ended is slow. Its further sessions have `PATIENCE` divided by the square root of their
   number: 100 of them have 0.1 s.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

__all__ = ["MOST_LATER", "PATIENCE", "TICK", "Crowds"]

PATIENCE = 1.0
"""Seconds in which a client can send its request before it may have to make room, unless it is known to be slow."""

MOST_LATER = 16
"""Slow clients that are passed over while their sessions still have time."""

TICK = 0.05
"""Seconds between two counts of the requests of all clients, while connections wait."""


class Incomplete(Protocol):
    """What a session is, here."""

    began: float
    client: str
    is_incomplete: bool


RequestT = TypeVar("RequestT", bound=Incomplete)


class Crowds(Generic[RequestT]):
    """The incomplete requests of all clients at one moment, so that they need not be counted for each one that ends."""

    def __init__(self, places: Iterable[RequestT] = (), now: float = -math.inf) -> None:
        self._made = now
        self._places: dict[str, deque[RequestT]] = {}
        for place in places:
            self._places.setdefault(place.client, deque()).append(place)
        self._heap = [(-len(places), client) for client, places in self._places.items()]
        heapify(self._heap)
        self._left = sum(map(len, self._places.values())) / 2

    def is_outdated(self, now: float) -> bool:
        """Whether it is time for another one: after `TICK`, or once half of the requests have ended."""
        return self._left <= 0 or self._made + TICK <= now

    def oldest(self, slow: set[str], now: float) -> RequestT | None:
        """Return the oldest request of the client with the most, once; None if they still have time."""
        later: list[tuple[int, str]] = []
        found = None
        while self._heap and found is None and len(later) < MOST_LATER:
            count, client = heappop(self._heap)
            places = self._places[client]
            while places and (not places[0].is_incomplete or places[0].client != client):
                places.popleft()
            if not places:
                continue
            entry = -len(places), client
            seconds = PATIENCE / math.sqrt(len(places)) if client in slow else PATIENCE
            if entry[0] > count:
                heappush(self._heap, entry)  # it is not the one with the most any more
            elif places[0].began + seconds <= now:
                found = places.popleft()
                self._left -= 1
                heappush(self._heap, (-len(places), client))
            elif client in slow:
                later.append(entry)  # its turn comes before there is another one of these
        for entry in later:
            heappush(self._heap, entry)
        return found
