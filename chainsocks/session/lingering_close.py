"""Close a connection so that its peer can read the last answer, or send the last it has to."""

from __future__ import annotations

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

__all__ = ["LEFTOVERS", "LINGER", "linger_and_close"]

LEFTOVERS = 256 * 1024
"""Bytes that a peer may still have on their way, and that are read and dropped."""

LINGER = 10
"""Seconds that this takes at most, whatever the deadlines are (RFC 1928 section 6)."""


async def linger_and_close(peer: ByteStream, seconds: float) -> None:
    """Finish our side, and wait until the peer has read it and closes; at most `seconds`. The caller closes then.

    Closing a socket that holds unread data resets it, and a reset can overtake the answer. So what the peer still
    sends is read, up to a limit, until it closes.
    """
    with trio.move_on_after(min(seconds, LINGER)):
        try:
            await peer.send_eof()
            left = LEFTOVERS
            while left > 0:
                left -= len(await peer.receive())
        except (BrokenResourceError, EndOfStream):
            return
