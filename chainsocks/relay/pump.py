"""One direction of a relay, over any byte stream: the plain way, and the reference for every faster one."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream
from trio.lowlevel import checkpoint

__all__ = ["CHUNK", "End", "pump"]

CHUNK = 64 * 1024
"""Bytes in flight in one direction, at most: the next chunk is read when this one has been taken."""

ROUNDS_BEFORE_YIELD = 16
"""Chunks after which a pump lets the other tasks run, even if its streams never make it wait (at most 1 MiB)."""


class End(Enum):
    """How a direction came to its end."""

    FINISHED = auto()
    """The source closed, and its end has been passed on."""
    SOURCE_BROKEN = auto()
    SINK_BROKEN = auto()


async def pump(source: ByteStream, sink: ByteStream, early_data: bytes, moved: Callable[[int], None]) -> End:
    """Send `early_data`, then all that `source` says, and then its end; call `moved` with the size of each chunk.

    *Closing*: neither stream is closed here. *Raises*: nothing that a network does; that is what `End` is for.
    """
    data = early_data
    rounds = 0
    while True:
        if data:
            try:
                await sink.send(data)
            except BrokenResourceError:
                return End.SINK_BROKEN
            moved(len(data))
        rounds += 1
        if rounds % ROUNDS_BEFORE_YIELD == 0:
            await checkpoint()
        try:
            data = await source.receive(CHUNK)
        except EndOfStream:
            break
        except BrokenResourceError:
            return End.SOURCE_BROKEN
    try:
        await sink.send_eof()
    except BrokenResourceError:
        return End.SINK_BROKEN
    return End.FINISHED
