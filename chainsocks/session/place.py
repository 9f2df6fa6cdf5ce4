"""A session's place among those that may run at a time (`chainsocks.server.admission`)."""

from __future__ import annotations

from typing import Protocol

from anyio.abc import ByteStream

from chainsocks.errors import Cause, ProtocolError, RequestRefused
from chainsocks.protocol.handshake import ServerHandshake
from chainsocks.protocol.messages import ReplyCode
from chainsocks.session.client_watch import until_client_leaves

__all__ = ["Kept", "Place", "wait_for_turn"]


class Kept(Protocol):
    """A place that its session may keep until it ends."""

    def leave(self) -> None:
        """Give the place back; the session has ended."""


class Place(Kept, Protocol):
    """The place of one session. Until its request is complete, it may be given to another connection."""

    began: float
    """When the session has had it."""
    ended: bool
    """Whether that was done. The session's connection is broken off then, so that it ends."""

    def keep(self, client: str) -> bool:
        """Keep the place for a complete request of `client`; return False if the client has to wait for that."""

    def settle(self) -> Kept:
        """Return what to leave instead of this place, which `keep` has kept. It may be that of other sessions, too."""

    async def wait(self, seconds: float) -> bool:
        """Wait until the client may keep the place; return False if the time is over or another one needs it."""


async def wait_for_turn(place: Place, client: ByteStream, handshake: ServerHandshake, seconds: float) -> None:
    """Wait until a user who has many sessions already may have one more.

    Raises:
        RequestRefused: there was none in time, or the client has left.
        ProtocolError: the connection was broken off as its request came.
    """
    if place.ended:
        raise ProtocolError("broken off", Cause.CLOSED)
    problem = "the client left while it waited for its turn"
    with until_client_leaves(client, handshake):
        if await place.wait(seconds):
            return
        problem = f"its user has as many sessions as max_sessions allows one user now (waited up to {seconds:g} s)"
    raise RequestRefused(problem, ReplyCode.GENERAL_FAILURE)
