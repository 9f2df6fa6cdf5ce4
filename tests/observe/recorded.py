"""A listener that records all events."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from chainsocks.errors import Place
from chainsocks.observe.events import Events
from chainsocks.observe.record import Record

__all__ = ["Event", "RecordedEvents"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at` and `deadline` are on trio's clock."""

    name: str
    session: int
    at: float
    place: Place | None = None
    deadline: float | None = None
    line: str = ""
    """What the record says at that time."""


@dataclass
class RecordedEvents(Events):
    """The events so far, in order."""

    seen: list[Event] = field(default_factory=list)

    def session_started(self, record: Record) -> None:
        self.seen.append(Event("started", record.id, trio.current_time(), line=str(record)))

    def step(self, record: Record, place: Place, deadline: float) -> None:
        self.seen.append(Event("step", record.id, trio.current_time(), place, deadline, str(record)))

    def session_ended(self, record: Record) -> None:
        self.seen.append(Event("ended", record.id, trio.current_time(), line=str(record)))
