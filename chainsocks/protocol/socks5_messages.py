"""The messages of SOCKS5 (RFC 1928) and of its username/password login (RFC 1929), decoded and encoded one by one.

A decoder returns None while a message is incomplete, and what the message says with the position of its end otherwise.
The handshakes (`chainsocks.protocol.socks5`) and the server's lane read the same way.
"""

from __future__ import annotations

from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType
from chainsocks.protocol.errors import Cause, ProtocolError, unexpected_opening
from chainsocks.protocol.messages import Command, Reply, ReplyCode, UsernamePassword, Version

__all__ = [
    "LOGIN_VERSION",
    "MAX_LOGIN",
    "decode_address",
    "decode_login",
    "decode_methods",
    "decode_request",
    "encode_address",
    "encode_reply",
    "reply_size",
    "skip_name",
]

MAX_LOGIN = 255
"""The most bytes in a username, and in a password: each length is one octet.

RFC 1929 section 2 has at least 1. Providers use empty ones, beside a token in the other field; curl sends them.
"""

LOGIN_VERSION = 1
"""The version of the sub-negotiation, not of SOCKS (RFC 1929 section 2)."""

_SOCKS5 = Version.SOCKS5.value
_COMMANDS = {command.value: command for command in Command}
_SIZES = {AddressType.IPV4: 4, AddressType.IPV6: 16}
_TYPES = {kind.value: kind for kind in AddressType}
_DOMAINNAME = AddressType.DOMAINNAME


def encode_address(address: Address) -> bytes:
    """Encode ATYP, address and port (RFC 1928 sections 4 to 7)."""
    port, kind = address.port.to_bytes(2, "big"), address.type
    if kind is _DOMAINNAME:
        return bytes((kind, len(address.packed))) + address.packed + port
    return bytes((kind,)) + address.packed + port


def decode_address(data: bytes, start: int) -> tuple[Address, int] | None:
    """Decode ATYP, address and port at `start`; return the address and its end, or None while it is incomplete."""
    if len(data) <= start:
        return None
    kind = _TYPES.get(data[start])
    if kind is None:
        raise ProtocolError(f"address type {data[start]} is none of 1, 3 and 4", Cause.UNKNOWN_ADDRESS_TYPE)
    start += 1
    if kind is _DOMAINNAME:
        if len(data) <= start:
            return None
        size = data[start]
        start += 1
    else:
        size = _SIZES[kind]
    end = start + size
    if len(data) < end + 2:
        return None
    try:
        address = Address.from_packed(kind, data[start:end], int.from_bytes(data[end : end + 2], "big"))
    except ValueError as error:
        raise ProtocolError(str(error), Cause.MALFORMED) from None
    return address, end + 2


def reply_size(data: bytes) -> int:
    """Return the length of the reply that `data` begins with, or while that is unknown, the length of the shortest."""
    kind = _TYPES.get(data[3], AddressType.DOMAINNAME) if len(data) > 3 else AddressType.DOMAINNAME
    if kind is not AddressType.DOMAINNAME:
        return 4 + _SIZES[kind] + 2
    return 5 + (data[4] if len(data) > 4 else 0) + 2


def skip_name(data: bytes, start: int) -> tuple[Address, int]:
    """Return zeros with the port behind a complete name that is no host, such as an empty one; and the end of both."""
    end = start + 2 + data[start + 1]
    return Address(UNSPECIFIED.host, int.from_bytes(data[end : end + 2], "big")), end + 2


def decode_methods(data: bytes) -> tuple[bytes, int] | None:
    """Decode VER NMETHODS METHODS (RFC 1928 section 3); return the methods and the message's end, None if incomplete.

    Raises:
        ProtocolError: this is not SOCKS5.
    """
    if data[0] != _SOCKS5:
        raise unexpected_opening("the first byte is not SOCKS5's", data)
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    end = 2 + data[1]
    return data[2:end], end


def decode_login(data: bytes) -> tuple[UsernamePassword, int] | None:
    """Decode VER ULEN UNAME PLEN PASSWD (RFC 1929 section 2); return the login and its end, None if incomplete.

    Raises:
        ProtocolError: the version is another one.
    """
    if data[0] != LOGIN_VERSION:
        raise ProtocolError(f"the login has version {data[0]}; RFC 1929 wants 1", Cause.WRONG_VERSION)
    if len(data) < 2 or len(data) < 3 + data[1]:
        return None
    username_end = 2 + data[1]
    end = username_end + 1 + data[username_end]
    if len(data) < end:
        return None
    return UsernamePassword(data[2:username_end], data[username_end + 1 : end]), end


def decode_request(data: bytes) -> tuple[Command, Address, int] | None:
    """Decode VER CMD RSV ATYP DST.ADDR DST.PORT (RFC 1928 section 4).

    Return the command, the destination and the message's end; None if it is incomplete. RSV is ignored, as in a reply:
    some clients leave it as it was in memory.

    Raises:
        ProtocolError: the request breaks the protocol.
    """
    if data[0] != _SOCKS5:
        raise ProtocolError(f"the request has version {data[0]}, not 5", Cause.WRONG_VERSION)
    if len(data) < 4:
        return None
    command = _COMMANDS.get(data[1])
    if command is None:
        raise ProtocolError(f"SOCKS5 has no command {data[1]}", Cause.UNKNOWN_COMMAND)
    decoded = decode_address(data, 3)
    return decoded and (command, *decoded)


def encode_reply(reply: Reply) -> bytes:
    """Encode VER REP RSV ATYP BND.ADDR BND.PORT (RFC 1928 section 6)."""
    code = reply.code if reply.code <= 0xFF else ReplyCode.NOT_ALLOWED_BY_RULESET  # 92 or 93 of a SOCKS4 hop
    return bytes((_SOCKS5, code, 0)) + encode_address(reply.bound)
