"""Events: what sessions report while they run, to listeners such as metrics or a live view.

1. Without listeners a session reports nothing: that costs one test at its start and end, and one for each step.
2. A listener is called synchronously, in the middle of a session. It must return at once.
3. An exception in a listener is logged as a bug, and changes nothing for the session or for other listeners.

The log line of a session does not go through a listener: `chainsocks.observe.record` writes it directly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from chainsocks.errors import Place
from chainsocks.observe.privacy import shown
from chainsocks.observe.record import Record

__all__ = ["Events", "SessionEvents"]

log = logging.getLogger("chainsocks.events")


class Events:
    """A listener that ignores all events; a subclass overrides those that it needs.

    The record is the session's own, and changes after the call.
    """

    def session_started(self, record: Record) -> None:
        """Handle the start of a session, whose client has sent nothing yet."""

    def step(self, record: Record, place: Place, deadline: float) -> None:
        """Handle the start of a step of a dial: the hop and the step, and its deadline in seconds on trio's clock.

        A step whose answer comes in pieces is reported again. Attempts at several members of a group may be mixed.
        """

    def session_ended(self, record: Record) -> None:
        """Handle the end of a session; `outcome` and the other fields of its record are final."""


class SessionEvents:
    """The events of one session, for all listeners. `step` is a `chainsocks.chain.trip.OnStep`."""

    __slots__ = ("_listeners", "_record")

    def __init__(self, listeners: Sequence[Events], record: Record) -> None:
        self._listeners = listeners
        self._record = record

    def started(self) -> None:
        """Report the start."""
        self._report(lambda listener: listener.session_started(self._record))

    def step(self, place: Place, deadline: float) -> None:
        """Report a step."""
        self._report(lambda listener: listener.step(self._record, place, deadline))

    def ended(self) -> None:
        """Report the end."""
        self._report(lambda listener: listener.session_ended(self._record))

    def _report(self, event: Callable[[Events], None]) -> None:
        for listener in self._listeners:
            try:
                event(listener)
            except Exception as error:
                name = type(listener).__name__
                log.error("a bug in the listener %s for events: %s: %s", name, type(error).__name__, shown(error))
                log.debug("where it happened", exc_info=error)
