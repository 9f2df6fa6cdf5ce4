"""How far a session has come, in words that commands know without the libraries of a server."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Phase"]


class Phase(StrEnum):
    """How far a session has come."""

    REQUEST = "request"
    """Its client has not sent a complete request."""
    ROUTE = "route"
    """It waits for a lookup that a rule needs, or until its user may have one more session."""
    DIAL = "dial"
    """It is on the way to its destination."""
    REPLY = "reply"
    """The client is to take its reply."""
    RELAY = "relay"
