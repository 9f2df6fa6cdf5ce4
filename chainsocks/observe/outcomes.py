"""How a session ended, for programs; the outcome in its log line is for people."""

from __future__ import annotations

from enum import StrEnum, auto
from typing import NamedTuple, Self

from chainsocks.errors import Cause, DialError, Step
from chainsocks.protocol.handshake import State

__all__ = ["Failure", "OutcomeKind"]


class OutcomeKind(StrEnum):
    """How a session ended. The values are labels of metrics, which users read."""

    FINISHED = auto()
    """Client and upstream have both finished, or the client has ended its UDP association."""
    IDLE = auto()
    """The relay was idle for too long."""
    HALF_CLOSED = auto()
    """One side had finished, and the other sent nothing for too long."""
    CLIENT_RESET = auto()
    """The client, or something on the way to it, reset the connection during the relay."""
    UPSTREAM_RESET = auto()
    """The upstream reset the connection during the relay."""
    HOP_ENDED = auto()
    """A hop ended its part of a UDP association."""
    ANSWERED = auto()
    """A lookup was answered, which is all that RESOLVE asks for."""
    REFUSED = auto()
    """A rule or the configuration forbids the request."""
    LOGIN_REFUSED = auto()
    """The client has not logged in as it has to."""
    BAD_REQUEST = auto()
    """The client broke the protocol."""
    NO_REQUEST = auto()
    """The client left, was too slow, or had to make room, before its request was complete."""
    CLIENT_LEFT = auto()
    """The client left before its reply, or did not take it."""
    CUT_OFF = auto()
    """The server stopped."""
    KILLED = auto()
    """It was ended by request, over the control socket."""
    DIAL_FAILED = auto()
    """A hop or the destination was not reached, or did not respond to a plain HTTP request."""
    LOCAL_ERROR = auto()
    """This machine lacked something, such as memory or files."""
    BUG = auto()
    """A bug in chainsocks ended it."""

    @property
    def is_failure(self) -> bool:
        """Whether the request failed. It has not if a rule refused it, or if the client left."""
        return self in _FAILURES


_FAILURES = {OutcomeKind.DIAL_FAILED, OutcomeKind.LOCAL_ERROR, OutcomeKind.BUG}


class Failure(NamedTuple):
    """What tells failed attempts of a dial apart."""

    hop: str
    """Empty at the destination."""
    step: State | Step
    cause: Cause

    @classmethod
    def of(cls, error: DialError) -> Self:
        """Return what an error says of its attempt."""
        return cls(error.place.hop or "", error.place.step, error.cause)
