"""A byte stream over another one, protected message by message by GSS-API (RFC 1961 section 5).

A *capsule* is a wrapped message with the header of the RFC.

1. A capsule that cannot be unwrapped breaks the stream, and so does an end in the middle of one. An end between two
   capsules is a regular end, even if an attacker has caused it: the RFC has no mark for the last message.
2. At most two received capsules and one sent capsule are buffered.
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
"""Bytes sent in one capsule: half of what its length field allows."""


class CapsuleError(BrokenResourceError):
    """A capsule broke the stream; the message says why."""

    cause = Cause.GSSAPI_FAILED


class EncapsulatedStream(ByteStream):
    """Wraps what is sent through `stream`, and unwraps what arrives. `early` are bytes that have been received already.

    *Closing*: it owns `stream`, and closes it.

    *Raises*: as ``anyio.abc.ByteStream`` says; `CapsuleError` if a message cannot be wrapped or unwrapped.
    """

    def __init__(self, stream: ByteStream, context: Context, protection: Protection, early: bytes = b"") -> None:
        self._stream = stream
        self._context = context
        self._protection = protection
        self._wrapped = bytearray(early)
        self._plain = bytearray()
        self.problem: str | None = None
        """Why nothing more can be received, if a capsule broke the stream."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return unwrapped bytes, up to `max_bytes`; wait until there are some."""
        waited = False
        while not self._plain:
            if not self._unwrap_one():
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
        """Close the sending direction; the other one stays open."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the inner stream."""
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the inner stream."""
        return self._stream.extra_attributes

    def _unwrap_one(self) -> bool:
        """Unwrap the next capsule; return False if it is not complete yet."""
        if self.problem:
            raise CapsuleError(self.problem)
        try:
            token = decode_message(self._wrapped, MessageType.DATA)
            if token is None:
                return False
            self._plain += self._context.unwrap(token, self._protection)
        except (ProtocolError, GssError) as error:
            self.problem = str(error)
            raise CapsuleError(self.problem) from None
        del self._wrapped[: HEADER + len(token)]
        return True

    async def _fetch(self) -> None:
        try:
            self._wrapped += await self._stream.receive()
        except EndOfStream:
            if self._wrapped:
                self.problem = "the stream ended in the middle of a capsule"
                raise CapsuleError(self.problem) from None
            raise
