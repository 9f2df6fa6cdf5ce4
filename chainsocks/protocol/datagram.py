"""The header at the start of every datagram of a UDP association (RFC 1928 section 7).

A datagram arrives whole or not at all, so one that ends within its header is malformed. The payload follows the header,
and may be empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.socks5_messages import encode_address

__all__ = ["PLAIN", "Header", "Nesting", "clear_reserved", "decode_header", "encode_header", "header_size"]

PLAIN = b"\0\0\0"
"""RSV RSV FRAG of a datagram that is not a fragment."""

_RESERVED = PLAIN[:2]
_BEFORE_ADDRESS = len(PLAIN)
_IPV4_SIZE, _IPV6_SIZE, _NAME_SIZE = 10, 22, 7  # of a whole header; the last one without the name


@dataclass(frozen=True, slots=True)
class Header:
    """FRAG, and DST.ADDR with DST.PORT. In a datagram to the client, the address is the source of the payload."""

    address: Address
    fragment: int = 0
    """0 for a whole datagram; otherwise the position in a sequence of fragments, with the high bit set in the last."""


def encode_header(address: Address) -> bytes:
    """Encode RSV FRAG ATYP DST.ADDR DST.PORT for a whole datagram."""
    return PLAIN + encode_address(address)


def header_size(data: bytes) -> int:
    """Return the offset of the payload, without decoding the address.

    Raises:
        ProtocolError: the datagram ends within its header, or the type of its address is unknown.
    """
    if len(data) < _NAME_SIZE:
        raise ProtocolError(f"{len(data)} bytes are too few for a header", Cause.MALFORMED)
    match data[_BEFORE_ADDRESS]:
        case AddressType.IPV4:
            size = _IPV4_SIZE
        case AddressType.IPV6:
            size = _IPV6_SIZE
        case AddressType.DOMAINNAME:
            size = _NAME_SIZE + data[_BEFORE_ADDRESS + 1]
        case kind:
            raise ProtocolError(f"address type {kind} is none of 1, 3 and 4", Cause.UNKNOWN_ADDRESS_TYPE)
    if len(data) < size:
        problem = f"the datagram ends within its header, at byte {len(data)} of {size}"
        raise ProtocolError(problem, Cause.MALFORMED)
    return size


def clear_reserved(data: bytes) -> bytes:
    """Return a datagram with zeros in RSV, which is ignored here, and which others may be strict about."""
    return data if data.startswith(_RESERVED) else _RESERVED + data[len(_RESERVED) :]


def decode_header(data: bytes) -> Header:
    """Decode the header of a datagram; RSV is ignored.

    Raises:
        ProtocolError: as `header_size` does; also if the address is invalid.
    """
    size = header_size(data)
    kind = AddressType(data[_BEFORE_ADDRESS])
    start = _BEFORE_ADDRESS + (2 if kind is AddressType.DOMAINNAME else 1)
    try:
        address = Address.from_packed(kind, data[start : size - 2], int.from_bytes(data[size - 2 : size], "big"))
    except ValueError as error:
        raise ProtocolError(str(error), Cause.MALFORMED) from None
    return Header(address, data[2])


class Nesting:
    """The headers that carry a datagram through several relays: each relay removes one, and forwards the rest.

    `relays` are all relays but the first, which the datagram is sent to. A datagram that comes back has the header of
    each of them, in the same order. Another address in one of them means that an outsider has sent the datagram to the
    relay before.
    """

    __slots__ = ("_headers", "_relays")

    def __init__(self, relays: Sequence[Address]) -> None:
        self._relays = [canonical(relay) for relay in relays]
        self._headers = b"".join(encode_header(relay) for relay in self._relays)

    def wrap(self, datagram: bytes) -> bytes:
        """Put the headers in front of a datagram that begins with the header for its destination."""
        return self._headers + datagram

    def unwrap(self, datagram: bytes) -> bytes | None:
        """Return the datagram from its last header on, which has its source; None if an outsider has sent it.

        Raises:
            ProtocolError: a header is malformed, or a relay has made fragments.
        """
        if datagram.startswith(self._headers):
            return datagram[len(self._headers) :]
        for relay in self._relays:  # it may be an outsider's, or have the same addresses in another form
            header = decode_header(datagram)
            if header.fragment:
                raise ProtocolError("a relay has fragmented the datagram", Cause.UNUSABLE)
            if canonical(header.address) != relay:
                return None
            datagram = datagram[header_size(datagram) :]
        return datagram
