"""One direction of a relay over any byte streams: the simple implementation, and the reference for `Flow`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream
from trio.lowlevel import checkpoint

__all__ = ["CHUNK", "FAILED", "FINISHED", "ROUNDS_BEFORE_YIELD", "SINK_BROKEN", "SOURCE_BROKEN", "End", "pump"]

CHUNK = 64 * 1024
"""Bytes in flight in one direction at most: the next chunk is read after the sink has taken this one."""

ROUNDS_BEFORE_YIELD = 16
"""Chunks after which a pump yields to other tasks, even if its streams never block (at most 1 MiB)."""


class End(Enum):
    """How a direction ended."""

    FINISHED = auto()
    """The source ended, and its end was passed on."""
    SOURCE_BROKEN = auto()
    SINK_BROKEN = auto()
    FAILED = auto()
    """An error of this machine, as for lack of memory."""


FINISHED, SOURCE_BROKEN, SINK_BROKEN, FAILED = End  # a global is 30 times as quick as an enum attribute


async def pump(
    source: ByteStream,
    sink: ByteStream,
    early_data: bytes,
    moved: Callable[[int], None],
    turn: Callable[[], Awaitable[None]] | None = None,
) -> End:
    """Send `early_data`, then everything from `source`, then its end; call `moved` with the size of each chunk.

    `turn` waits until a chunk may be read; without it, it always may.

    *Closing*: closes neither stream. *Raises*: nothing for network errors; `End` reports those.
    """
    data = early_data
    rounds = 0
    while True:
        if data:
            try:
                await sink.send(data)
            except BrokenResourceError:
                return SINK_BROKEN
            moved(len(data))
        rounds += 1
        if rounds % ROUNDS_BEFORE_YIELD == 0:
            await checkpoint()
        if turn:
            await turn()
        try:
            data = await source.receive(CHUNK)
        except EndOfStream:
            break
        except BrokenResourceError:
            return SOURCE_BROKEN
    try:
        await sink.send_eof()
    except BrokenResourceError:
        return SINK_BROKEN
    return FINISHED
