"""What `chainsocks top` knows, and what of it is to be seen: snapshots, rates, order, filter, the chosen session.

Rates are differences: the server has no part in them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from chainsocks.control.messages import Hop, Session, Status
from chainsocks.observe.phase import Phase
from chainsocks.tools.running import show_place, show_way

__all__ = ["Ask", "Order", "Rate", "Snapshot", "View"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the server has said, at a time in seconds."""

    at: float
    status: Status
    hops: Sequence[Hop]
    sessions: Sequence[Session]


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes per second from and to a client."""

    up: float = 0
    down: float = 0


class Order(StrEnum):
    """What sessions are sorted by."""

    AGE = "age"
    """The youngest first."""
    CLIENT = "client"
    DESTINATION = "destination"
    LEFT = "time left"
    """The one that has the least time for its step first; relays last."""
    RATE = "rate"
    """The fastest first, both ways together."""
    BYTES = "bytes"
    """The one with the most first, both ways together."""


class Ask(Enum):
    """What the user is being asked."""

    NOTHING = auto()
    FILTER = auto()
    KILL = auto()


@dataclass(slots=True)
class View:
    """What is to be seen, and in which order. `show` takes what the server says."""

    snapshot: Snapshot | None = None
    rates: Mapping[str, Rate] = field(default_factory=dict)
    """By session id."""
    order: Order = Order.RATE
    is_reversed: bool = False
    filter: str = ""
    is_paused: bool = False
    ask: Ask = Ask.NOTHING
    chosen: str = ""
    """The id of the session that the cursor is at."""
    first: int = 0
    """The index of the first session that is to be seen."""
    message: str = ""
    """What has just happened."""

    def show(self, snapshot: Snapshot) -> None:
        """Take a new snapshot, and compare it with the one before."""
        before = self.snapshot
        self.snapshot = snapshot
        if before is None:
            return
        seconds = max(snapshot.at - before.at, 1e-3)
        earlier = {session.id: session for session in before.sessions}
        self.rates = {
            session.id: Rate((session.up - last.up) / seconds, (session.down - last.down) / seconds)
            for session in snapshot.sessions
            if (last := earlier.get(session.id))
        }

    @property
    def total(self) -> Rate:
        """The rate of all sessions that were in both snapshots."""
        return Rate(sum(rate.up for rate in self.rates.values()), sum(rate.down for rate in self.rates.values()))

    def rate(self, session: Session) -> Rate:
        """Return the rate of a session."""
        return self.rates.get(session.id, Rate())

    def sessions(self) -> list[Session]:
        """Return the sessions that pass the filter, in order."""
        if self.snapshot is None:
            return []
        words = self.filter.casefold().split()
        meant = [each for each in self.snapshot.sessions if all(word in _text(each) for word in words)]
        meant.sort(key=lambda each: _numbers(each.id))
        meant.sort(key=self._key, reverse=self.is_reversed)
        return meant

    def move(self, steps: int, sessions: Sequence[Session]) -> None:
        """Move the cursor."""
        if sessions:
            now = next((index for index, each in enumerate(sessions) if each.id == self.chosen), -1 if steps > 0 else 0)
            self.chosen = sessions[min(max(now + steps, 0), len(sessions) - 1)].id

    def scroll(self, sessions: Sequence[Session], room: int) -> Sequence[Session]:
        """Return the sessions that are to be seen in `room` lines, the chosen one among them."""
        chosen = next((index for index, each in enumerate(sessions) if each.id == self.chosen), None)
        if chosen is not None:
            self.first = min(max(self.first, chosen - room + 1), chosen)
        self.first = max(0, min(self.first, len(sessions) - room))
        return sessions[self.first : self.first + room]

    @property
    def _key(self) -> Callable[[Session], tuple[float, str]]:
        match self.order:
            case Order.AGE:
                return lambda each: (each.age, "")
            case Order.CLIENT:
                return lambda each: (0, each.client)
            case Order.DESTINATION:
                return lambda each: (0, each.destination or "~")
            case Order.LEFT:
                return lambda each: (_left(each), "")
            case Order.RATE:
                return lambda each: (-self.rate(each).up - self.rate(each).down, "")
            case Order.BYTES:
                return lambda each: (-each.up - each.down, "")


def _numbers(name: str) -> tuple[int, ...]:
    """Return the numbers in a session's id: that of its worker, if it has one, and its own."""
    return tuple(map(int, re.findall(r"\d+", name)))


def _left(session: Session) -> float:
    left = session.place.left
    return math.inf if left is None or session.place.phase is Phase.RELAY else left


def _text(session: Session) -> str:
    """Return what a filter is compared with."""
    parts = (session.id, session.client, session.user or "", session.command or "", session.destination or "")
    return " ".join((*parts, show_way(session), show_place(session.place))).casefold()
