"""The sessions that run, for what shows them or ends one.

Nothing is recorded for that. A session answers each question from what it has for its own use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from chainsocks.config.hops import Hop
from chainsocks.errors import Place
from chainsocks.observe.phase import Phase
from chainsocks.observe.record import Record

__all__ = ["KILLED", "LiveSession", "LiveSessions", "Moment"]

KILLED = "ended by request over the control socket"
"""The outcome of a session that was killed."""


class Moment(NamedTuple):
    """Where a session is now."""

    phase: Phase
    deadline: float
    """When the step has to end, on trio's clock; in a relay, when its idle timeout ends. ``inf`` for never."""
    place: Place | None = None
    """Of a dial: the hop and the step. Of several attempts at a time, the latest one's."""
    hops: Sequence[Hop] | None = None
    """Those that the request goes through; None before that is known."""


class LiveSession(Protocol):
    """A session that runs."""

    @property
    def record(self) -> Record:
        """What is known of it."""

    def moment(self) -> Moment | None:
        """Return where it is; None if it has ended."""

    def kill(self) -> None:
        """End it, and reset its connections."""


class LiveSessions:
    """The sessions of a server that are tasks."""

    __slots__ = ("_killed", "_running")

    def __init__(self) -> None:
        self._running: set[LiveSession] = set()
        self._killed: set[LiveSession] = set()

    def __contains__(self, session: LiveSession) -> bool:
        return session in self._running

    def __iter__(self) -> Iterator[LiveSession]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def add(self, session: LiveSession) -> None:
        """Note that a session has begun."""
        self._running.add(session)

    def kill(self, session: LiveSession) -> None:
        """End a session; its outcome will be `KILLED`."""
        self._killed.add(session)
        session.kill()

    def remove(self, session: LiveSession) -> bool:
        """Note that a session has ended; return whether it was killed."""
        self._running.discard(session)
        if session in self._killed:
            self._killed.discard(session)
            return True
        return False
