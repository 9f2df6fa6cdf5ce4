"""Lines from a stream: what both sides of the control protocol read."""

from __future__ import annotations

import trio

__all__ = ["LineReader", "LineTooLongError"]

CHUNK = 64 * 1024


class LineTooLongError(Exception):
    """A line has more bytes than it may."""


class LineReader:
    """Reads lines of at most `longest` bytes. A call that was cancelled loses nothing."""

    def __init__(self, stream: trio.abc.ReceiveStream, longest: int) -> None:
        self._stream = stream
        self._longest = longest
        self._buffer = bytearray()
        self._searched = 0

    async def read(self) -> bytes | None:
        """Return the next line without its end; None at the end of the stream, behind which a part of a line is lost.

        Raises:
            LineTooLongError: the line is too long.
            BrokenResourceError: the connection broke.
        """
        buffer = self._buffer
        while (end := buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(buffer)
            if len(buffer) > self._longest:
                raise LineTooLongError
            data = await self._stream.receive_some(CHUNK)
            if not data:
                return None
            buffer += data
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        self._searched = 0
        if len(line) > self._longest:
            raise LineTooLongError
        return line
