"""One question of DNS (RFC 1035): answers to it that need no other server, and the same question for a resolver.

Only what a stub resolver sends is read: a header, one question, and the size and the DO bit of EDNS (RFC 6891). All
other options stay here: they could tell of the client or its network.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from chainsocks.protocol.errors import Cause, ProtocolError

__all__ = ["Kind", "Query", "Rcode", "encode_name", "fit_datagram", "name_of_kind", "parse_query"]

_HEADER = struct.Struct(">HHHHHH")
_IS_RESPONSE, _OPCODE, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x7800, 0x0100, 0x0080
_TRUNCATED, _AUTHENTIC_DATA, _CHECKING_DISABLED = 0x0200, 0x0020, 0x0010  # the last two: RFC 4035 section 3.2
_INTERNET = 1
_QUESTION_NAME = 0xC00C  # a pointer to it: 12 bytes into the message
_LABEL = re.compile(rb"[!-\-/-~]{1,63}").fullmatch  # visible, and no dot
_LONGEST = 253
_DATAGRAM = 512

_OPT = struct.Struct(">BHHIH")  # RFC 6891 section 6.1: root, type, size of datagrams, flags, length of the options
_OPT_TYPE, _DNSSEC_OK = 41, 0x8000

_LARGEST_DATAGRAM = 1232
"""Bytes of a datagram that need no fragments on any usual path (precedent: DNS flag day 2020)."""


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


_RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_KINDS = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    43: "DS",
    48: "DNSKEY",
    65: "HTTPS",
}


def name_of_kind(kind: int) -> str:
    """Return the name of a type of records; that of RFC 3597 section 5 for a rare one."""
    return _KINDS.get(kind, f"TYPE{kind}")


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
    datagram: int = _DATAGRAM
    """The largest datagram that the client takes, in bytes."""
    has_edns: bool = False
    wants_dnssec: bool = False

    @property
    def address(self) -> str | None:
        """The IP address whose name is asked for by ``in-addr.arpa`` or ``ip6.arpa``; None for another question."""
        labels = self.name.split(".")
        digits = labels[-3::-1]
        try:
            match self.kind, labels[-2:]:
                case Kind.PTR, ["in-addr", "arpa"]:
                    return str(ipaddress.IPv4Address(".".join(digits)))
                case Kind.PTR, ["ip6", "arpa"] if len(digits) == 32:
                    groups = ["".join(digits[place : place + 4]) for place in range(0, 32, 4)]
                    return str(ipaddress.IPv6Address(":".join(groups)))
        except ValueError:
            pass
        return None

    def for_resolver(self, id_: int) -> bytes:
        """Return the message to a resolver that asks for the same."""
        flags = self.flags & (_RECURSION_DESIRED | _AUTHENTIC_DATA | _CHECKING_DISABLED)
        return _HEADER.pack(id_, flags, 1, 0, 0, int(self.has_edns)) + self.question + self._opt

    def from_resolver(self, id_: int, message: bytes) -> bytes:
        """Return the answer of a resolver to `for_resolver` as the answer to this question.

        Raises:
            ProtocolError: it is none to this question.
        """
        end = _HEADER.size + len(self.question)
        if len(message) < end:
            raise ProtocolError("its answer is no DNS message", Cause.MALFORMED)
        found, flags, questions, *_ = _HEADER.unpack_from(message)
        same = message[_HEADER.size : end].lower() == self.question.lower()
        if found != id_ or not flags & _IS_RESPONSE or questions != 1 or not same:
            raise ProtocolError("its answer is to another question", Cause.MISMATCH)
        return self.id.to_bytes(2, "big") + message[2 : _HEADER.size] + self.question + message[end:]

    def describe(self, message: bytes) -> str:
        """Say in a few words what an answer to this question is; nothing of it is shown."""
        code, records = message[3] & 15, int.from_bytes(message[6:8], "big")
        result = _RCODES.get(code, f"RCODE{code}")
        if code == Rcode.NO_ERROR:
            result = f"{records} record{'' if records == 1 else 's'}"
        return f"{name_of_kind(self.kind)}: {result}"

    def in_datagram(self, message: bytes) -> bytes:
        """Return an answer, as far as it fits the client's datagrams."""
        return fit_datagram(message, self.datagram, self._opt)

    @property
    def _opt(self) -> bytes:
        flags = _DNSSEC_OK if self.wants_dnssec else 0
        return _OPT.pack(0, _OPT_TYPE, _LARGEST_DATAGRAM, flags, 0) if self.has_edns else b""

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


def fit_datagram(message: bytes, size: int = _DATAGRAM, opt: bytes = b"") -> bytes:
    """Return an answer that fits a datagram (RFC 1035 section 4.2.1): a larger one is to be asked for over TCP.

    `opt` is the record of EDNS that is left of it then.
    """
    if len(message) <= size:
        return message
    id_, flags, *_ = _HEADER.unpack_from(message)
    end = _HEADER.size
    while message[end]:
        end += 1 + message[end]
    return _HEADER.pack(id_, flags | _TRUNCATED, 1, 0, 0, int(bool(opt))) + message[_HEADER.size : end + 5] + opt


def encode_name(name: str) -> bytes:
    """Return a name as records have it.

    Raises:
        ValueError: a label is too long, or empty.
    """
    labels = name.removesuffix(".").encode("latin-1").split(b".")
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name!r} is no name of DNS")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def parse_query(message: bytes) -> Query | bytes | None:
    """Return the question of a message, or the refusal that it gets; None for what cannot be answered."""
    if len(message) < _HEADER.size:
        return None
    id_, flags, questions, answers, authorities, others = _HEADER.unpack_from(message)
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
    if others and not answers and not authorities and len(message) >= end + _OPT.size:
        root, type_, size, extended, _ = _OPT.unpack_from(message, end)
        if (root, type_) == (0, _OPT_TYPE):
            size = min(max(size, _DATAGRAM), _LARGEST_DATAGRAM)
            query = replace(query, datagram=size, has_edns=True, wants_dnssec=bool(extended & _DNSSEC_OK))
    if klass != _INTERNET:
        return query.failure(Rcode.REFUSED)
    if len(name) > _LONGEST or not all(map(_LABEL, labels)):
        return query.failure(Rcode.NAME_ERROR)  # no hop could be asked for it
    return query
