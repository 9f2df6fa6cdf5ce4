"""The header in front of every datagram of a UDP association (RFC 1928 section 7).

A datagram comes whole or not at all: one that ends within its header is wrong, and nothing more will come. What stands
behind the header is the payload, also when there is none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.socks5 import encode_address

__all__ = ["PLAIN", "Header", "Nesting", "decode_header", "encode_header", "header_size"]

PLAIN = b"\0\0\0"
"""RSV RSV FRAG of a datagram that stands alone."""

_BEFORE_ADDRESS = len(PLAIN)
_IPV4_SIZE, _IPV6_SIZE, _NAME_SIZE = 10, 22, 7  # of a whole header; that of a name without the name


@dataclass(frozen=True, slots=True)
class Header:
    """FRAG and DST.ADDR with DST.PORT; towards the client these are the address that the payload came from."""

    address: Address
    fragment: int = 0
    """0 for a datagram that stands alone; otherwise its place in a sequence, with the high bit at its end."""


def encode_header(address: Address) -> bytes:
    """Write RSV FRAG ATYP DST.ADDR DST.PORT for a datagram that stands alone."""
    return PLAIN + encode_address(address)


def header_size(data: bytes) -> int:
    """Return where the payload begins, without a look at what the address says.

    Raises:
        ProtocolError: the datagram ends within its header, or its address is of no known type.
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


def decode_header(data: bytes) -> Header:
    """Read the header of a datagram.

    Raises:
        ProtocolError: as `header_size` does; or the reserved bytes are not 0, or the address is none.
    """
    size = header_size(data)
    if data[0] or data[1]:
        problem = f"the reserved bytes of the header are {data[:2].hex().upper()}, not 0000"
        raise ProtocolError(problem, Cause.MALFORMED)
    kind = AddressType(data[_BEFORE_ADDRESS])
    start = _BEFORE_ADDRESS + (2 if kind is AddressType.DOMAINNAME else 1)
    try:
        address = Address.from_packed(kind, data[start : size - 2], int.from_bytes(data[size - 2 : size], "big"))
    except ValueError as error:
        raise ProtocolError(str(error), Cause.MALFORMED) from None
    return Header(address, data[2])


class Nesting:
    """The headers by which a datagram goes through several relays: each of them takes off one, and sends the rest on.

    `relays` are all but the first, which the datagram is sent to. What comes back has a header of each of them, in the
    same order, and has to: another address there is a stranger's, who has sent something to the relay before it.
    """

    __slots__ = ("_headers", "_relays")

    def __init__(self, relays: Sequence[Address]) -> None:
        self._relays = [canonical(relay) for relay in relays]
        self._headers = b"".join(encode_header(relay) for relay in self._relays)

    def wrap(self, datagram: bytes) -> bytes:
        """Put the headers in front of a datagram that has its own, for its destination."""
        return self._headers + datagram

    def unwrap(self, datagram: bytes) -> bytes | None:
        """Take the headers off but for the last, which says whence the datagram is; None when it is a stranger's.

        Raises:
            ProtocolError: there are no such headers.
        """
        if datagram.startswith(self._headers):
            return datagram[len(self._headers) :]
        for relay in self._relays:  # it may be a stranger's, or another way to write the same address
            header = decode_header(datagram)
            if header.fragment:
                raise ProtocolError("a relay has made fragments", Cause.UNUSABLE)
            if canonical(header.address) != relay:
                return None
            datagram = datagram[header_size(datagram) :]
        return datagram
