"""What a session that begins without a task, in the server's lane, has in common with one that is a task.

The lane hands a session over as a `Begun`. Both ways say the same of how a session ended.
"""

from __future__ import annotations

from typing import NamedTuple

from chainsocks.chain.operations import Upstream
from chainsocks.chain.trip import RequestAbandoned
from chainsocks.errors import DialError, RequestRefused
from chainsocks.observe.events import SessionEvents
from chainsocks.observe.privacy import shown
from chainsocks.observe.record import Record

__all__ = ["CLIENT_LEFT", "CUT_OFF", "Begun", "Dialled", "describe_error"]

CLIENT_LEFT = "the client left before its reply"
CUT_OFF = "cut off: the server is stopping"
"""Outcomes."""

Dialled = Upstream | DialError | RequestRefused | RequestAbandoned | None


class Begun(NamedTuple):
    """A session that has begun without a task (`chainsocks.server.lane`), as far as it has come."""

    record: Record
    events: SessionEvents | None = None
    heard: bytes = b""
    """What the client has sent."""
    answered: int = 0
    """Bytes of the answers to that which the client has got."""
    dialled: Dialled = None
    """What came of the dial; None where it has not begun."""


def describe_error(error: BaseException) -> tuple[str, bool]:
    """Return what the log says of an error at this end, and whether it is one of the machine; otherwise it is a bug."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, OSError | MemoryError):
        return "a bug in chainsocks ended it", False
    words = "out of memory" if isinstance(error, MemoryError) else shown(error)
    return f"an error at this end: {words}", True
