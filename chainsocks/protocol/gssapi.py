"""GSSAPI for SOCKS5 (RFC 1961): the encoding of its messages, its protection levels, and its credentials.

::

    VER(1)=1  MTYP(1)  LEN(2)  TOKEN(LEN)        an abort has the first two only

A token is opaque here: the mechanism makes it and reads it, so this module needs no library for GSSAPI.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError

__all__ = [
    "ABORT",
    "HEADER",
    "MAX_TOKEN",
    "Gssapi",
    "MessageType",
    "Principal",
    "Protection",
    "ProtectionText",
    "decode_message",
    "encode_message",
    "token_size",
]

VERSION = 1

HEADER = 4
"""Bytes before the token of a message."""

MAX_TOKEN = 0xFFFF
"""The most bytes in a token: its length is two octets."""

ABORT = b"\x01\xff"
"""The message by which a server ends the exchange (section 3.8)."""


class MessageType(IntEnum):
    """MTYP of a message with a token (sections 3.4, 4.3 and 5)."""

    AUTHENTICATION = 1
    PROTECTION_LEVEL = 2
    DATA = 3


_EXPECTED = {
    MessageType.AUTHENTICATION: "an authentication token",
    MessageType.PROTECTION_LEVEL: "a protection level",
    MessageType.DATA: "encapsulated data",
}


class Protection(IntEnum):
    """The protection levels of section 4.3, and one more: none."""

    NONE = 0
    """Nothing is encapsulated. The RFC does not have this level, and curl has no other."""
    INTEGRITY = 1
    CONFIDENTIALITY = 2
    """With integrity."""
    SELECTIVE = 3
    """Either one, chosen by the sender for each message. A server that is asked for it chooses one for all of them."""

    def __str__(self) -> str:
        return self.name.lower()


ProtectionText = Literal["none", "integrity", "confidentiality"]
"""The levels that a hop can be asked for, as they are written."""


@dataclass(frozen=True, slots=True, init=False)
class Gssapi:
    """A login by GSSAPI to `service` at `host`; None is the host of the proxy's address.

    `protection` is the level that is asked for, and the lowest that is accepted.

    Raises:
        ValueError: another level, or a service or host that is no text.
    """

    protection: Protection
    service: str
    host: str | None

    def __init__(
        self,
        protection: Protection | ProtectionText = Protection.INTEGRITY,
        service: str = "rcmd",
        host: str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "protection", _level(protection))
        put(self, "service", _text(service, "service"))
        put(self, "host", None if host is None else _text(host, "host"))


def _level(protection: object) -> Protection:
    levels = [level for level in Protection if level is not Protection.SELECTIVE]
    for level in levels:
        if protection is level or (isinstance(protection, str) and protection == str(level)):
            return level
    expected = " or ".join(f'"{level}"' for level in levels)
    raise ValueError(f"the protection is none of those that a hop can be asked for; write {expected}")


def _text(value: object, what: str) -> str:
    if isinstance(value, str) and value:
        return str.__str__(value)
    raise ValueError(f"the {what} of a GSSAPI login is a text that is not empty")


@dataclass(frozen=True, slots=True)
class Principal:
    """The name that a client has proved, as in ``carol@EXAMPLE.ORG``."""

    name: str


def encode_message(kind: MessageType, token: bytes) -> bytes:
    """Encode a message.

    Raises:
        ValueError: the token is longer than `MAX_TOKEN`.
    """
    if len(token) > MAX_TOKEN:
        raise ValueError(f"a token has at most {MAX_TOKEN} bytes, this one has {len(token)}")
    return bytes((VERSION, kind)) + len(token).to_bytes(2, "big") + token


def token_size(data: bytes) -> int:
    """Return the length of the message that `data` begins with, or as much of it as is needed to know more."""
    if len(data) < len(ABORT):
        return len(ABORT)
    return HEADER if len(data) < HEADER else HEADER + int.from_bytes(data[2:HEADER], "big")


def decode_message(data: bytes | bytearray, kind: MessageType) -> bytes | None:
    """Return the token of the message that `data` begins with, or None while the message is incomplete.

    The message is `HEADER` bytes longer than its token. Its first two bytes are enough to raise.

    Raises:
        LoginRefused: it is an abort.
        ProtocolError: it is no GSSAPI message, or not of this `kind`.
    """
    if data and data[0] != VERSION:
        raise ProtocolError(f"a GSSAPI message has version {data[0]}; RFC 1961 wants 1", Cause.WRONG_VERSION)
    if len(data) < 2:
        return None
    if data[1] == ABORT[1]:
        raise LoginRefused("it ended the GSSAPI exchange with an abort", Cause.GSSAPI_ABORTED)
    if data[1] != kind:
        problem = f"a GSSAPI message has type {data[1]}; expected {_EXPECTED[kind]}, type {kind:d}"
        raise ProtocolError(problem, Cause.MALFORMED)
    if len(data) < HEADER:
        return None
    end = HEADER + int.from_bytes(data[2:HEADER], "big")
    return bytes(data[HEADER:end]) if len(data) >= end else None
