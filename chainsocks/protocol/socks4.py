"""SOCKS4 and its extension SOCKS4a, both roles.

The sources are Ying-Da Lee's SOCKS4 memo and his one-page "SOCKS 4A". They set no limit for the two NUL-terminated
strings, and this module does. A SOCKS4a request has the address 0.0.0.x, with x not zero, and a host name after the
user id.
"""

from __future__ import annotations

from chainsocks.protocol.address import MAX_NAME, UNSPECIFIED, Address, AddressType
from chainsocks.protocol.errors import Cause, ProtocolError, unexpected_opening
from chainsocks.protocol.handshake import ClientHandshake as BaseClientHandshake
from chainsocks.protocol.handshake import ServerHandshake as BaseServerHandshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, IdentCode, Reply, ReplyCode, Request, UserId, Version

__all__ = ["MAX_USER_ID", "ClientHandshake", "ServerHandshake", "announces_name", "decode_request", "encode_reply"]

MAX_USER_ID = 512
"""The most bytes in a USERID: as many as an identd may answer (RFC 1413 section 6)."""

_GRANTED, _REJECTED, _NO_IDENTD, _IDENTD_DIFFERS = 90, 91, 92, 93
_CODE_FROM_WIRE: dict[int, ReplyCode | IdentCode] = {
    _GRANTED: ReplyCode.SUCCEEDED,
    _REJECTED: ReplyCode.GENERAL_FAILURE,
    _NO_IDENTD: IdentCode.IDENTD_MISSING,
    _IDENTD_DIFFERS: IdentCode.IDENTD_DIFFERS,
}
_CODE_TO_WIRE = {meaning.value: code for code, meaning in _CODE_FROM_WIRE.items()}
_HEADER = 8  # VN CD DSTPORT DSTIP
_REPLY = 8  # VN CD DSTPORT DSTIP
_COMMANDS = {command.value: command for command in (Command.CONNECT, Command.BIND, Command.RESOLVE)}
_NAME_FOLLOWS = b"\x00\x00\x00\x01"


def announces_name(ip: bytes) -> bool:
    """Tell whether an IPv4 address is one of SOCKS4a's 0.0.0.x, which announce a name."""
    return len(ip) == 4 and ip[:3] == b"\0\0\0" and ip[3] != 0


def decode_request(data: bytes) -> tuple[Request, int] | None:
    """Decode VN CD DSTPORT DSTIP USERID NUL, and the name with its NUL where SOCKS4a has one.

    Return the request and the message's end; None if it is incomplete.

    Raises:
        ProtocolError: the request breaks the protocol.
    """
    if len(data) < _HEADER:
        return None
    if data[0] != Version.SOCKS4:
        raise unexpected_opening("the first byte is not SOCKS4's", data)
    command = _COMMANDS.get(data[1])
    if command is None:
        raise ProtocolError(f"SOCKS4 has no command {data[1]}", Cause.UNKNOWN_COMMAND)
    end = _string_end(data, _HEADER, MAX_USER_ID, "user id")
    if end is None:
        return None
    user_id = data[_HEADER:end]
    ip = data[4:8]
    kind = AddressType.IPV4
    if announces_name(ip):
        start = end + 1
        end = _string_end(data, start, MAX_NAME, "host name")
        if end is None:
            return None
        kind, ip = AddressType.DOMAINNAME, data[start:end]
    try:
        destination = Address.from_packed(kind, ip, int.from_bytes(data[2:4], "big"))
    except ValueError as error:
        raise ProtocolError(f"SOCKS4a request: {error}", Cause.MALFORMED) from None
    return Request(Version.SOCKS4, command, destination, UserId(user_id) if user_id else None), end + 1


def _string_end(data: bytes, start: int, limit: int, what: str) -> int | None:
    """Return the position of the NUL that ends a string; None while it has not arrived."""
    end = data.find(0, start, start + limit + 1)
    if end >= 0:
        return end
    if len(data) > start + limit:
        raise ProtocolError(f"the SOCKS4 {what} is longer than {limit} bytes", Cause.TOO_LONG)
    return None


def encode_reply(reply: Reply) -> bytes:
    """Encode VN CD DSTPORT DSTIP.

    The memo's DSTIP has room for an IPv4 address only. Clients ignore it for CONNECT. For BIND, zeros mean the server's
    own address: the session refuses a BIND whose address has no other form here.
    """
    code = _CODE_TO_WIRE.get(reply.code, _REJECTED)
    ip = reply.bound.packed if reply.bound.type is AddressType.IPV4 else UNSPECIFIED.packed
    return bytes((0, code)) + reply.bound.port.to_bytes(2, "big") + ip


class ServerHandshake(BaseServerHandshake):
    """The server of SOCKS4 and SOCKS4a: a request, and the reply to it."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(State.REQUEST)

    def _advance(self) -> bool:
        if self.state is not State.REQUEST:
            return False
        try:
            decoded = decode_request(self._incoming)
        except ProtocolError as error:
            if self._incoming[0] != Version.SOCKS4:
                raise  # it could not read a refusal
            is_unknown = error.cause is Cause.UNKNOWN_COMMAND
            code = ReplyCode.COMMAND_NOT_SUPPORTED if is_unknown else ReplyCode.GENERAL_FAILURE
            raise self._refuse(code, str(error), error.cause) from None
        if decoded:
            self._request, end = decoded
            self._incoming = self._incoming[end:]
            self.state = State.REPLY
        return False

    def _encode_reply(self, reply: Reply) -> bytes:
        return encode_reply(reply)


class ClientHandshake(BaseClientHandshake):
    """The client of SOCKS4 and SOCKS4a: a request, and the reply to it. A name as the destination makes it SOCKS4a.

    Raises:
        ValueError: SOCKS4 cannot carry the command or the destination, or the user id is too long or contains a NUL.
    """

    __slots__ = ()

    def __init__(self, request: Request) -> None:
        super().__init__(State.REQUEST)
        user_id = request.credentials.user_id if isinstance(request.credentials, UserId) else b""
        if len(user_id) > MAX_USER_ID or b"\0" in user_id:
            raise ValueError(f"a SOCKS4 user id has at most {MAX_USER_ID} bytes, and no NUL")
        destination = request.destination
        if request.command not in _COMMANDS.values():
            raise ValueError(f"SOCKS4 has no {request.command.name}")
        if destination.type is AddressType.IPV6:
            raise ValueError(f"SOCKS4 cannot carry the IPv6 address {destination.host}")
        if announces_name(destination.packed):
            raise ValueError(f"SOCKS4 cannot carry {destination.host}: such an address announces a name")
        head = bytes((Version.SOCKS4, request.command)) + destination.port.to_bytes(2, "big")
        if destination.type is AddressType.IPV4:
            self._outgoing = head + destination.packed + user_id + b"\0"
        else:
            self._outgoing = head + _NAME_FOLLOWS + user_id + b"\0" + destination.packed + b"\0"

    @property
    def missing(self) -> int:
        """As in every handshake of a client."""
        return _REPLY - len(self._incoming)

    def _advance(self) -> bool:
        data = self._incoming
        if self.state not in (State.REQUEST, State.SECOND_REPLY):
            return False
        if data[0] != 0:
            raise unexpected_opening("this is not a SOCKS4 reply", data)
        if len(data) < 2:
            return False
        code = _CODE_FROM_WIRE.get(data[1])
        if code is None:
            raise ProtocolError(f"{data[1]} is not a SOCKS4 reply code (90..93)", Cause.MALFORMED)
        if len(data) < _REPLY:
            return False
        bound = Address.from_packed(AddressType.IPV4, data[4:8], int.from_bytes(data[2:4], "big"))
        self._finish(Reply(code, bound), data[_REPLY:])
        return False
