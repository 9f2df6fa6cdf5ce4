"""The messages of SOCKS, independent of its version.

A `Request` and a `Reply` are the same for SOCKS4, 4a and 5. Only the handshakes know the wire format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.gssapi import Gssapi, Principal

__all__ = [
    "Command",
    "Credentials",
    "IdentCode",
    "IsolationLogin",
    "Method",
    "Reply",
    "ReplyCode",
    "Request",
    "UserId",
    "UsernamePassword",
    "Version",
    "describe_reply",
    "login_bytes",
    "show_code",
]


class Version(IntEnum):
    """The protocol of a request. Those of SOCKS are the first byte that a client sends."""

    SOCKS4 = 4
    SOCKS5 = 5
    HTTP = ord("C")
    """HTTP, by its CONNECT."""
    REDIRECTED = 0
    """None: the network tells where the connection was going to."""
    TUNNEL = 1
    """None: the listener has the destination of all its connections."""
    DNS = 2
    """A question of DNS, which asks for what RESOLVE and RESOLVE_PTR ask for."""


class Command(IntEnum):
    """CMD of RFC 1928 section 4. SOCKS4 has the first two, with the same numbers.

    The last two are tor's (its socks-extensions.txt section 2): the address of a name, and the name of an address. The
    reply's BND.ADDR is the answer, and no stream follows. SOCKS4 has RESOLVE only.
    """

    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3
    RESOLVE = 0xF0
    RESOLVE_PTR = 0xF1


class Method(IntEnum):
    """Authentication methods of RFC 1928 section 3."""

    NO_AUTHENTICATION_REQUIRED = 0x00
    GSSAPI = 0x01
    USERNAME_PASSWORD = 0x02
    NO_ACCEPTABLE_METHODS = 0xFF


class ReplyCode(IntEnum):
    """REP of RFC 1928 section 6, and tor's extension to it (tor's socks-extensions.txt section 1.2).

    A code without a name here is still a valid `Reply.code`: a hop can send any.
    """

    SUCCEEDED = 0x00
    GENERAL_FAILURE = 0x01
    NOT_ALLOWED_BY_RULESET = 0x02
    NETWORK_UNREACHABLE = 0x03
    HOST_UNREACHABLE = 0x04
    CONNECTION_REFUSED = 0x05
    TTL_EXPIRED = 0x06
    COMMAND_NOT_SUPPORTED = 0x07
    ADDRESS_TYPE_NOT_SUPPORTED = 0x08
    ONION_DESCRIPTOR_NOT_FOUND = 0xF0
    ONION_DESCRIPTOR_INVALID = 0xF1
    ONION_INTRODUCTION_FAILED = 0xF2
    ONION_RENDEZVOUS_FAILED = 0xF3
    ONION_CLIENT_AUTH_MISSING = 0xF4
    ONION_CLIENT_AUTH_WRONG = 0xF5
    ONION_ADDRESS_INVALID = 0xF6
    ONION_INTRODUCTION_TIMED_OUT = 0xF7


class IdentCode(IntEnum):
    """SOCKS4's reply codes 92 and 93, which SOCKS5 lacks. They are above 0xFF, so no REP byte has their values."""

    IDENTD_MISSING = 0x15C
    IDENTD_DIFFERS = 0x15D


_WORDING: dict[int, str] = {
    ReplyCode.SUCCEEDED: "succeeded",
    ReplyCode.GENERAL_FAILURE: "general SOCKS server failure",
    ReplyCode.NOT_ALLOWED_BY_RULESET: "connection not allowed by ruleset",
    ReplyCode.NETWORK_UNREACHABLE: "network unreachable",
    ReplyCode.HOST_UNREACHABLE: "host unreachable",
    ReplyCode.CONNECTION_REFUSED: "connection refused",
    ReplyCode.TTL_EXPIRED: "TTL expired",
    ReplyCode.COMMAND_NOT_SUPPORTED: "command not supported",
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: "address type not supported",
    ReplyCode.ONION_DESCRIPTOR_NOT_FOUND: "onion service descriptor not found",
    ReplyCode.ONION_DESCRIPTOR_INVALID: "onion service descriptor invalid",
    ReplyCode.ONION_INTRODUCTION_FAILED: "onion service introduction failed",
    ReplyCode.ONION_RENDEZVOUS_FAILED: "onion service rendezvous failed",
    ReplyCode.ONION_CLIENT_AUTH_MISSING: "onion service wants client authorization",
    ReplyCode.ONION_CLIENT_AUTH_WRONG: "onion service refused the client authorization",
    ReplyCode.ONION_ADDRESS_INVALID: "onion service address invalid",
    ReplyCode.ONION_INTRODUCTION_TIMED_OUT: "onion service introduction timed out",
    IdentCode.IDENTD_MISSING: "the server cannot connect to identd on the client",
    IdentCode.IDENTD_DIFFERS: "the client and its identd report different user-ids",
}


def describe_reply(code: int) -> str:
    """Return the RFC's wording of a reply code, and the code: ``connection refused (05)``."""
    return f"{_WORDING.get(code, 'unassigned reply code')} ({show_code(code)})"


def show_code(code: int) -> str:
    """Return the byte of a reply code, in hex."""
    return f"{code & 0xFF:02X}"


_SUCCEEDED = ReplyCode.SUCCEEDED.value  # a global is 30 times as quick as a member of an enum


@dataclass(frozen=True, slots=True, init=False)
class UserId:
    """The USERID of SOCKS4: a claim, not a proof. ``repr`` does not show it. Text is encoded in UTF-8.

    Raises:
        ValueError: it is neither text nor bytes.
    """

    user_id: bytes = field(repr=False)

    def __init__(self, user_id: str | bytes) -> None:
        object.__setattr__(self, "user_id", login_bytes(user_id, "user id"))


@dataclass(frozen=True, slots=True, init=False)
class UsernamePassword:
    """The login of RFC 1929. ``repr`` does not show it. Text is encoded in UTF-8; either part may be empty.

    Raises:
        ValueError: a part is neither text nor bytes.
    """

    username: bytes = field(repr=False)
    password: bytes = field(repr=False)

    def __init__(self, username: str | bytes, password: str | bytes) -> None:
        object.__setattr__(self, "username", login_bytes(username, "username"))
        object.__setattr__(self, "password", login_bytes(password, "password"))


class IsolationLogin(UsernamePassword):
    """A login that groups streams, and proves no identity. A proxy that does not accept it would mix the groups.

    So it is the only method that is offered.
    """

    __slots__ = ()


def login_bytes(text: object, what: str) -> bytes:
    """Return a part of a login as the bytes that are sent. It is not repeated in errors.

    Raises:
        ValueError: it is neither text nor bytes.
    """
    if isinstance(text, bytes | bytearray):
        return bytes(text)
    if isinstance(text, str):
        try:
            return text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError(f"the {what} has a character that cannot be encoded") from None
    shown = "None" if text is None else f"of type {type(text).__name__}"
    raise ValueError(f'the {what} is {shown}; write a text, which may be empty: ""')


Credentials = UserId | UsernamePassword | Gssapi | Principal
"""Of a hop: the login to send. Of a client: the login that it has sent."""


class Request(NamedTuple):  # half the price of a frozen dataclass, and each session makes some of these
    """A client's request, in any version. A SOCKS4a request is a SOCKS4 request whose destination is a name."""

    version: Version
    command: Command
    destination: Address
    credentials: Credentials | None = None


class Reply(NamedTuple):
    """The answer to a `Request`: a reply code, and BND.ADDR with BND.PORT."""

    code: int
    bound: Address = UNSPECIFIED
    status: str = ""
    """The status line of an HTTP response, without its version: ``403 Forbidden``; empty in SOCKS."""
    problem: str = ""
    """The sentence that says why a request is refused, for protocols that can carry one."""

    @property
    def succeeded(self) -> bool:
        """Whether the request was granted."""
        return self.code == _SUCCEEDED

    @property
    def described(self) -> str:
        """What the proxy said, in the words of its protocol."""
        return self.status or describe_reply(self.code)
