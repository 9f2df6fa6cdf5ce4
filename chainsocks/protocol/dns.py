"""One question of DNS (RFC 1035), and the answers to it that need no other server.

Only what a stub resolver sends is read: a header, and one question. What follows, such as EDNS, is left alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Kind", "Query", "Rcode", "fit_datagram", "parse_query"]

_HEADER = struct.Struct(">HHHHHH")
_IS_RESPONSE, _OPCODE, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x7800, 0x0100, 0x0080
_TRUNCATED = 0x0200
_INTERNET = 1
_QUESTION_NAME = 0xC00C  # a pointer to it: 12 bytes into the message
_LABEL = re.compile(rb"[!-\-/-~]{1,63}").fullmatch  # visible, and no dot
_LONGEST = 253
_DATAGRAM = 512


class Kind(IntEnum):
    """Types of records that are answered; of any other there is nothing."""

    A = 1
    PTR = 12
    AAAA = 28


class Rcode(IntEnum):
    """RCODE of RFC 1035 section 4.1.1."""

    NO_ERROR = 0
    FORMAT_ERROR = 1
    SERVER_FAILURE = 2
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and how to answer it."""

    id: int
    flags: int
    question: bytes
    """As it came, to be repeated in the answer."""
    name: str
    """In lower case, without a dot at the end; empty for the root."""
    kind: int

    def answer(self, records: Sequence[bytes], seconds: int) -> bytes:
        """Return the answer that has records of the question's own type, to be kept for some `seconds`."""
        parts = [struct.pack(">HHHIH", _QUESTION_NAME, self.kind, _INTERNET, seconds, len(data)) for data in records]
        body = b"".join(part + data for part, data in zip(parts, records, strict=True))
        return self._header(Rcode.NO_ERROR, len(records)) + self.question + body

    def failure(self, code: Rcode) -> bytes:
        """Return the answer that says no."""
        return self._header(code, 0) + self.question

    def _header(self, code: Rcode, records: int) -> bytes:
        flags = _IS_RESPONSE | (self.flags & (_OPCODE | _RECURSION_DESIRED)) | _RECURSION_AVAILABLE | code
        return _HEADER.pack(self.id, flags, 1 if self.question else 0, records, 0, 0)


def fit_datagram(message: bytes) -> bytes:
    """Return an answer that fits a datagram (RFC 1035 section 4.2.1): a larger one is to be asked for over TCP."""
    if len(message) <= _DATAGRAM:
        return message
    id_, flags, *_ = _HEADER.unpack_from(message)
    end = _HEADER.size
    while message[end]:
        end += 1 + message[end]
    return _HEADER.pack(id_, flags | _TRUNCATED, 1, 0, 0, 0) + message[_HEADER.size : end + 5]


def parse_query(message: bytes) -> Query | bytes | None:
    """Return the question of a message, or the refusal that it gets; None for what cannot be answered."""
    if len(message) < _HEADER.size:
        return None
    id_, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & _IS_RESPONSE:
        return None
    bare = Query(id_, flags, b"", "", 0)
    if flags & _OPCODE:
        return bare.failure(Rcode.NOT_IMPLEMENTED)
    if questions != 1:
        return bare.failure(Rcode.FORMAT_ERROR)
    labels, place = [], _HEADER.size
    while place < len(message) and (size := message[place]):
        if size > 63:
            return bare.failure(Rcode.FORMAT_ERROR)
        labels.append(message[place + 1 : place + 1 + size])
        place += 1 + size
    end = place + 5
    if end > len(message):
        return bare.failure(Rcode.FORMAT_ERROR)
    kind, klass = struct.unpack_from(">HH", message, place + 1)
    name = b".".join(labels)
    query = Query(id_, flags, message[_HEADER.size : end], name.decode("latin-1").lower(), kind)
    if klass != _INTERNET:
        return query.failure(Rcode.REFUSED)
    if len(name) > _LONGEST or not all(map(_LABEL, labels)):
        return query.failure(Rcode.NAME_ERROR)  # no hop could be asked for it
    return query
