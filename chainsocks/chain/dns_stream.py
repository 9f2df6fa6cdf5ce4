"""Ask a resolver over a stream: DNS over TCP (RFC 1035 section 4.2.2), one question after the other."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.errors import Cause, NotFoundError, ProtocolError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command

__all__ = ["Dialect", "Question", "ask", "dialect", "exchange"]

_LENGTH = 2


class Question(Protocol):
    """One message to a resolver."""

    @property
    def message(self) -> bytes:
        """The message."""

    def read(self, message: bytes) -> Sequence[str]:
        """Return what an answer found, or raise `NotFoundError` or `ProtocolError`."""


class Dialect(Protocol):
    """The module that knows DNS."""

    def questions(self, command: Command, subject: Address) -> Sequence[Question]:
        """Return what to ask, until something is found, or raise `ValueError`."""


def dialect() -> Dialect:
    """Return the module that knows DNS. It takes dnspython, and that is loaded for those only who have a resolver."""
    return cast(Dialect, importlib.import_module("chainsocks.chain.dns_messages"))


async def ask(stream: ByteStream, early: bytes, questions: Sequence[Question]) -> str:
    """Ask one question after the other, until one finds something, and return the first of that.

    `early` is what has come from the stream already.

    Raises:
        NotFoundError: none did.
        ProtocolError: it does not speak proper DNS, or left.
    """
    for question in questions:
        answer, early = await exchange(stream, early, question.message)
        if found := question.read(answer):
            return found[0]
    raise NotFoundError("it knows the name, and has nothing of that kind", Cause.NAME_NOT_FOUND)


async def exchange(stream: ByteStream, data: bytes, message: bytes) -> tuple[bytes, bytes]:
    """Send one message; return the one that answers it, and what has come behind that. `data` has come already.

    Raises:
        ProtocolError: there is no whole answer.
    """
    try:
        await stream.send(len(message).to_bytes(_LENGTH, "big") + message)
        while len(data) < _LENGTH or len(data) < (end := _LENGTH + int.from_bytes(data[:_LENGTH], "big")):
            data += await stream.receive()
    except EndOfStream:
        where = f", {len(data)} bytes into an answer" if data else ""
        raise ProtocolError(f"it closed the connection{where}", Cause.CLOSED) from None
    except BrokenResourceError:
        raise ProtocolError("the connection was reset", Cause.RESET) from None
    return data[_LENGTH:end], data[end:]
