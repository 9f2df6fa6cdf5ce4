"""GSSAPI for SOCKS5 (RFC 1961): its messages as bytes, its protection levels, and who logs in by it.

::

    VER(1)=1  MTYP(1)  LEN(2)  TOKEN(LEN)        of an abort there are the first two only

What is in a token is the mechanism's business: nothing here encrypts, and nothing here needs a library for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError

__all__ = [
    "ABORT",
    "HEADER",
    "MAX_TOKEN",
    "Gssapi",
    "MessageType",
    "Principal",
    "Protection",
    "decode_message",
    "encode_message",
]

VERSION = 1

HEADER = 4
"""Bytes before a token."""

MAX_TOKEN = 0xFFFF
"""Bytes in a token: its length is two octets."""

ABORT = b"\x01\xff"
"""What a server says instead of anything else (section 3.8)."""


class MessageType(IntEnum):
    """MTYP of a message with a token: sections 3.4, 4.3 and 5."""

    AUTHENTICATION = 1
    PROTECTION_LEVEL = 2
    DATA = 3


_EXPECTED = {
    MessageType.AUTHENTICATION: "a token of authentication",
    MessageType.PROTECTION_LEVEL: "a protection level",
    MessageType.DATA: "encapsulated data",
}


class Protection(IntEnum):
    """The protection level of section 4.3, and the one that it leaves out."""

    NONE = 0
    """Nothing is encapsulated. It is not in the RFC, and is all that curl can do."""
    INTEGRITY = 1
    CONFIDENTIALITY = 2
    """Integrity as well."""
    SELECTIVE = 3
    """Either one for each message, as the sender likes. A server that is asked for it picks one of the two for all."""

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Gssapi:
    """That we log in by GSSAPI: to `service` at `host`, where None is the host of the proxy's address.

    `protection` is what we ask for, and the least that we go on with.
    """

    protection: Protection = Protection.INTEGRITY
    service: str = "rcmd"
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a client has proved to be, as in ``carol@EXAMPLE.ORG``."""

    name: str


def encode_message(kind: MessageType, token: bytes) -> bytes:
    """Write a message.

    Raises:
        ValueError: the token is over `MAX_TOKEN` bytes.
    """
    if len(token) > MAX_TOKEN:
        raise ValueError(f"a token has at most {MAX_TOKEN} bytes, this one has {len(token)}")
    return bytes((VERSION, kind)) + len(token).to_bytes(2, "big") + token


def decode_message(data: bytes | bytearray, kind: MessageType) -> bytes | None:
    """Return the token of the message that `data` begins with, or None while that is incomplete.

    The message has `HEADER` bytes more than its token.

    Raises:
        LoginRefused: it is an abort.
        ProtocolError: it is none, or of another kind; that is seen by its first two bytes.
    """
    if data and data[0] != VERSION:
        raise ProtocolError(f"a GSSAPI message has version {data[0]}; RFC 1961 wants 1", Cause.WRONG_VERSION)
    if len(data) < 2:
        return None
    if data[1] == ABORT[1]:
        raise LoginRefused("it ended the GSSAPI exchange with an abort", Cause.GSSAPI_ABORTED)
    if data[1] != kind:
        problem = f"a GSSAPI message of type {data[1]} where {_EXPECTED[kind]} was due, type {kind:d}"
        raise ProtocolError(problem, Cause.MALFORMED)
    if len(data) < HEADER:
        return None
    end = HEADER + int.from_bytes(data[2:HEADER], "big")
    return bytes(data[HEADER:end]) if len(data) >= end else None
