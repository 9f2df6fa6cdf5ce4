"""Close a client's connection so that it can read the last answer."""

from __future__ import annotations

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

__all__ = ["LEFTOVERS", "LINGER", "linger_and_close"]

LEFTOVERS = 256 * 1024
"""Bytes that a client may still have on their way, and that are read and dropped."""

LINGER = 10
"""Seconds that this takes at most, whatever the deadlines are (RFC 1928 section 6)."""


async def linger_and_close(client: ByteStream, seconds: float) -> None:
    """Finish our side, and wait until the client has read it and closes; at most `seconds`. The caller closes then.

    Closing a socket that holds unread data resets it, and a reset can overtake the answer. So what the client still
    sends is read, up to a limit, until it closes.
    """
    with trio.move_on_after(min(seconds, LINGER)):
        try:
            await client.send_eof()
            left = LEFTOVERS
            while left > 0:
                left -= len(await client.receive())
        except (BrokenResourceError, EndOfStream):
            return
