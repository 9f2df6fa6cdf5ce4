"""Part with a client to which we have no more to say."""

from __future__ import annotations

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

__all__ = ["LEFTOVERS", "PARTING", "part"]

LEFTOVERS = 256 * 1024
"""Bytes that a client may still have on their way and that we read away."""

PARTING = 10
"""Seconds at most that this takes, whatever the deadlines are (RFC 1928 section 6)."""


async def part(client: ByteStream, seconds: float) -> None:
    """Let a client read our last answer, before the caller closes the connection; it has so many seconds at most.

    Closing a socket that holds unread data resets it, and a reset can overtake our answer; so the rest of what the
    client is saying is read away, up to a limit, until it closes.
    """
    with trio.move_on_after(min(seconds, PARTING)):
        try:
            await client.send_eof()
            left = LEFTOVERS
            while left > 0:
                left -= len(await client.receive())
        except (BrokenResourceError, EndOfStream):
            return
