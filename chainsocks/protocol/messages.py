"""What is said in a SOCKS conversation, without saying it in any one version.

A `Request` and a `Reply` are the same for SOCKS4, 4a and 5; only the handshakes know the wire form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

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
    "show_code",
]


class Version(IntEnum):
    """The first byte of a conversation."""

    SOCKS4 = 4
    SOCKS5 = 5


class Command(IntEnum):
    """CMD of RFC 1928 section 4; SOCKS4 knows the first two under the same numbers.

    tor has added two (its socks-extensions.txt section 2), of which SOCKS4 knows the first: to look up a name, and the
    name of an address. The answer is the reply's BND.ADDR, and the end of the conversation.
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

    A code without a name here is still a valid `Reply.code`: hops may say what they like.
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
    """The refusals that SOCKS4 has and SOCKS5 has not, its 92 and 93: beyond the one byte of REP, to be none of its."""

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
    """Return the RFC's own words for a reply code, with the code: ``connection refused (05)``."""
    return f"{_WORDING.get(code, 'unassigned reply code')} ({show_code(code)})"


def show_code(code: int) -> str:
    """Return a reply code as it is on the wire, in hex."""
    return f"{code & 0xFF:02X}"


@dataclass(frozen=True, slots=True)
class UserId:
    """The USERID of SOCKS4: a claim, not a proof. Kept out of ``repr``."""

    user_id: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UsernamePassword:
    """The login of RFC 1929. Kept out of ``repr``."""

    username: bytes = field(repr=False)
    password: bytes = field(repr=False)


class IsolationLogin(UsernamePassword):
    """A login that says whose streams belong together, and not who they are: a proxy that does not take it mixes them.

    So no other method is offered beside it.
    """

    __slots__ = ()


Credentials = UserId | UsernamePassword | Gssapi | Principal
"""Of a hop, what we log in with; of a client, what it has logged in with."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for, whatever version it asked in. A 4a request is a SOCKS4 one that carries a name."""

    version: Version
    command: Command
    destination: Address
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a `Request`: a reply code and BND.ADDR with BND.PORT."""

    code: int
    bound: Address = UNSPECIFIED

    @property
    def succeeded(self) -> bool:
        """Whether the request was granted."""
        return self.code == ReplyCode.SUCCEEDED
