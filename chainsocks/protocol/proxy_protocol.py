"""The PROXY protocol: what a load balancer tells of the client whose connection it passes on.

A header stands before the first byte of the connection ("The PROXY protocol, versions 1 and 2", by HAProxy): a line of
text in version 1, binary in version 2. Both are read; version 2 is what is written.

1. A header is read in any segmentation, and no byte behind it is taken.
2. It is bounded: `MAX_V1` bytes, or what the length field of version 2 can say. Of that, the addresses are kept, and
   the rest, which are optional fields (TLV), is skipped.
3. A sender may tell of no client: LOCAL for connections of its own, UNKNOWN or another family of addresses. Then the
   connection is that of the sender itself, as the specification has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.errors import Cause, ProtocolError, unexpected_opening

__all__ = ["LOCAL", "MAX_V1", "UNKNOWN", "Ends", "HeaderReader", "encode_header"]

MAX_V1 = 107
"""The most bytes of a header of version 1 (section 2.1)."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"  # section 2.2
_V1 = b"PROXY "
_FIXED = 16  # bytes of version 2 before the addresses
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and the command
_STREAMS = {0x11: 4, 0x21: 16}
"""Bytes of an IP address, for each family that TCP connections have."""
_OTHERS = {0x00, 0x12, 0x22, 0x31, 0x32}  # unspecified, UDP, unix sockets
_MAX_HEAD = max(MAX_V1, _FIXED + 2 * (16 + 2))

LOCAL = _SIGNATURE + bytes((_LOCAL, 0, 0, 0))
"""The header before a connection of our own."""

UNKNOWN = _SIGNATURE + bytes((_PROXY, 0, 0, 0))
"""The header for a client that has no IP address."""

_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a client's connection, as IP addresses."""

    source: Address
    """The client's own."""
    destination: Address
    """The one that the client has connected to."""


class HeaderReader:
    """Reads one header. Give it what has arrived until it is `done`."""

    __slots__ = ("_head", "_seen", "_size", "done", "ends")

    def __init__(self) -> None:
        self.done = False
        self.ends: Ends | None = None
        """What the header tells, once it is `done`; None if that is nothing."""
        self._head = b""
        self._seen = 0
        self._size: int | None = None

    @property
    def wanted(self) -> int:
        """The most bytes that the header may still have, as far as is known."""
        return (MAX_V1 if self._size is None else self._size) - self._seen

    def receive_data(self, data: bytes) -> int:
        """Take what of `data` belongs to the header, and return how many bytes that is: all of it until `done`.

        Raises:
            ProtocolError: it is no header, or one that the specification forbids; or `data` is empty, which stands for
                the end of the connection.
        """
        if not data:
            raise ProtocolError("the connection ended before the header was complete", Cause.CLOSED)
        if self._size is None:
            self._size = _size_of(self._head + data)
        taken = len(data) if self._size is None else min(len(data), self._size - self._seen)
        self._seen += taken
        if len(self._head) < _MAX_HEAD:
            self._head = (self._head + data[:taken])[:_MAX_HEAD]
        if self._seen == self._size:
            self.ends = _decode_v1(self._head) if self._head.startswith(_V1) else _decode_v2(self._head, self._size)
            self.done = True
        return taken


def _size_of(head: bytes) -> int | None:
    """Return the bytes of the header that begins with `head`; None while that is not known.

    Raises:
        ProtocolError: no header begins so.
    """
    if head.startswith(_V1):
        end = head.find(b"\r\n", 0, MAX_V1)
        if end < 0 and len(head) >= MAX_V1:
            raise ProtocolError(f"a header of version 1 has at most {MAX_V1} bytes", Cause.TOO_LONG)
        return end + 2 if end >= 0 else None
    if head.startswith(_SIGNATURE):
        return _FIXED + int.from_bytes(head[14:16]) if len(head) >= _FIXED else None
    if _V1.startswith(head) or _SIGNATURE.startswith(head):
        return None
    raise unexpected_opening("this is no PROXY protocol header", head)


def _decode_v1(head: bytes) -> Ends | None:
    """Decode a line of version 1, such as ``PROXY TCP4 192.0.2.1 192.0.2.9 51234 1080``."""
    fields = head.removesuffix(b"\r\n").split(b" ")
    match fields:
        case [_, b"UNKNOWN", *_]:
            return None  # what follows is to be ignored
        case [_, b"TCP4" | b"TCP6" as family, source, destination, port, own_port]:
            if _is_port(port) and _is_port(own_port):
                return Ends(_address(family, source, port), _address(family, destination, own_port))
    raise _malformed("its line is none of version 1")


def _is_port(text: bytes) -> bool:
    return bool(_PORT.fullmatch(text)) and int(text) <= 65535


def _address(family: bytes, text: bytes, port: bytes) -> Address:
    host = text.decode("latin-1")
    try:
        if "%" in host:  # a scope, which the standard library accepts
            raise AddressValueError
        ip = IPv4Address(host) if family == b"TCP4" else IPv6Address(host)
    except AddressValueError:
        raise _malformed(f"an address in it is none of {family.decode()}") from None
    return canonical(Address(str(ip), int(port)))


def _decode_v2(head: bytes, size: int) -> Ends | None:
    """Decode a header of version 2, of whose `size` bytes `head` has those before the optional fields."""
    command, family = head[12], head[13]
    if command not in (_LOCAL, _PROXY):
        raise _malformed(f"it has the version and command {command:#04x}, expected 0x20 or 0x21")
    if command == _LOCAL:
        return None  # whatever the family is
    if family in _OTHERS:
        return None
    if family not in _STREAMS:
        raise _malformed(f"it has the unknown address family {family:#04x}")
    length = _STREAMS[family]
    end = _FIXED + 2 * length + 4
    if size < end:
        raise _malformed("it is too short for its addresses")
    hosts, ports = head[_FIXED : _FIXED + 2 * length], head[_FIXED + 2 * length : end]
    kind = AddressType.IPV4 if length == 4 else AddressType.IPV6
    source = Address.from_packed(kind, hosts[:length], int.from_bytes(ports[:2]))
    destination = Address.from_packed(kind, hosts[length:], int.from_bytes(ports[2:]))
    return Ends(canonical(source), canonical(destination))


def _malformed(problem: str) -> ProtocolError:
    return ProtocolError(f"the PROXY protocol header is malformed: {problem}", Cause.MALFORMED)


def encode_header(ends: Ends) -> bytes:
    """Encode a header of version 2. An IPv4 address beside an IPv6 one is mapped into IPv6 (RFC 4291).

    Raises:
        ValueError: an end is a name.
    """
    kinds = ends.source.type, ends.destination.type
    if AddressType.DOMAINNAME in kinds:
        raise ValueError("a PROXY protocol header carries IP addresses, and no name")
    family, length = (0x11, 4) if kinds == (AddressType.IPV4, AddressType.IPV4) else (0x21, 16)
    hosts = b"".join((bytes(10) + b"\xff\xff" + end.packed)[-length:] for end in (ends.source, ends.destination))
    ports = ends.source.port.to_bytes(2) + ends.destination.port.to_bytes(2)
    return _SIGNATURE + bytes((_PROXY, family)) + (2 * length + 4).to_bytes(2) + hosts + ports
