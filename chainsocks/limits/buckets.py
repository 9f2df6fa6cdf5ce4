"""Token buckets of many clients, in bounded memory.

A bucket is one number: the time at which it will be full again. A full bucket needs no entry.
"""

from __future__ import annotations

__all__ = ["BURST", "MOST", "Buckets"]

BURST = 5.0
"""Seconds whose tokens a full bucket holds, and one token at least: a browser opens dozens of connections at once."""

MOST = 65_536
"""Buckets in memory. Beyond that, the one that was used least recently is forgotten, and so is full again."""


class Buckets:
    """A bucket for each client. All of them are filled at `rate` tokens a second."""

    __slots__ = ("_full_at", "_most", "rate")

    def __init__(self, rate: float, most: int = MOST) -> None:
        self.rate = rate
        self._most = most
        self._full_at: dict[str, float] = {}  # the one that was used last comes last

    def __len__(self) -> int:
        """Return how many buckets are in memory."""
        return len(self._full_at)

    def take(self, client: str, now: float) -> bool:
        """Take a token of a client; return False if there is none. `now` is in seconds on a clock that never goes back.

        The memory of one or two full buckets is freed each time.
        """
        full_at = max(self._full_at.pop(client, now), now)
        cost, size = 1 / self.rate, max(BURST, 1 / self.rate)
        has_one = full_at + cost - now <= size * (1 + 1e-9)
        self._full_at[client] = full_at + cost if has_one else full_at
        self._forget(now)
        return has_one

    def _forget(self, now: float) -> None:
        for _ in range(2):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._most:
                return
            del self._full_at[oldest]
