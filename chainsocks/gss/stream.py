"""A byte stream in capsules: GSS-API's per-message protection over another stream (RFC 1961 section 5).

1. What cannot be opened breaks the stream, and so does an end within a capsule: neither looks like a regular end. An
   end between two capsules does, also if somebody else has made it: the RFC knows no mark for the last one.
2. At most two capsules are buffered on the way in, and one on the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from chainsocks.errors import Cause, GssError
from chainsocks.gss.contexts import Context
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.gssapi import HEADER, MessageType, Protection, decode_message, encode_message

__all__ = ["CAPSULE", "CapsuleError", "EncapsulatedStream"]

CAPSULE = 32 * 1024
"""Bytes that we put into one capsule: half of what its length has room for."""


class CapsuleError(BrokenResourceError):
    """The stream is broken, and its capsules are to blame; says why."""

    cause = Cause.GSSAPI_FAILED


class EncapsulatedStream(ByteStream):
    """What goes through `stream`, which it owns from now on, is wrapped by `context`; `early` has come ahead.

    *Raises*: as ``anyio.abc.ByteStream`` says; a `CapsuleError` for what cannot be wrapped or opened.
    """

    def __init__(self, stream: ByteStream, context: Context, protection: Protection, early: bytes = b"") -> None:
        self._stream = stream
        self._context = context
        self._protection = protection
        self._sealed = bytearray(early)
        self._plain = bytearray()
        self.problem: str | None = None
        """Why nothing more can be received, where the capsules are to blame."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has been freed of its capsule, up to `max_bytes`, as soon as there is something."""
        waited = False
        while not self._plain:
            if not self._open_one():
                await self._fetch()
                waited = True
        if not waited:
            await checkpoint()
        data = bytes(self._plain[:max_bytes])
        del self._plain[:max_bytes]
        return data

    async def send(self, item: bytes) -> None:
        """Send `item` in as many capsules as it needs."""
        with memoryview(item) as view:
            for start in range(0, len(item), CAPSULE):
                try:
                    token = self._context.wrap(bytes(view[start : start + CAPSULE]), self._protection)
                except GssError as error:
                    raise CapsuleError(str(error)) from None
                await self._stream.send(encode_message(MessageType.DATA, token))

    async def send_eof(self) -> None:
        """Finish our direction; the other one stays open."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the stream below."""
        return self._stream.extra_attributes

    def _open_one(self) -> bool:
        """Open the next capsule, if it is there."""
        if self.problem:
            raise CapsuleError(self.problem)
        try:
            token = decode_message(self._sealed, MessageType.DATA)
            if token is None:
                return False
            self._plain += self._context.unwrap(token, self._protection)
        except (ProtocolError, GssError) as error:
            self.problem = str(error)
            raise CapsuleError(self.problem) from None
        del self._sealed[: HEADER + len(token)]
        return True

    async def _fetch(self) -> None:
        try:
            self._sealed += await self._stream.receive()
        except EndOfStream:
            if self._sealed:
                self.problem = "the stream ended within a capsule"
                raise CapsuleError(self.problem) from None
            raise
