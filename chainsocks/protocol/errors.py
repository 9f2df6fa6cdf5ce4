"""The causes of failures (`Cause`), and the errors that this room raises.

They stand here because the lowest room imports no other. `chainsocks.errors` shows the whole tree of exceptions, and
re-exports these.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Any

from chainsocks.protocol.address import printable

__all__ = ["Cause", "ChainsocksError", "LoginRefused", "ProtocolError", "describe_opening", "unexpected_opening"]


class Cause(StrEnum):
    """The cause of a failure, for programs. The message of the error is for people."""

    @property
    def words(self) -> str:
        """The name of the cause with spaces, for a line of the log without the message."""
        return self.replace("_", " ")

    # The connection itself, to a hop, a client, a resolver or an identd.
    CLOSED = auto()
    """The peer closed the connection before its message was complete."""
    RESET = auto()
    """The peer, or something on the way, reset the connection."""

    # The peer does not speak SOCKS: its first bytes look like another protocol.
    HTTP_RESPONSE = auto()
    """The first bytes look like an HTTP server's response."""
    HTTP_REQUEST = auto()
    """The first bytes look like a request to an HTTP server."""
    HTTP_CONNECT = auto()
    """The first bytes look like a CONNECT request to an HTTP proxy."""
    TLS = auto()
    """The first bytes look like a TLS handshake."""
    TLS_ALERT = auto()
    """The first bytes look like a TLS alert: the peer expected TLS."""
    SSH = auto()
    """The first bytes look like SSH."""
    PROXY_PROTOCOL = auto()
    """The first bytes look like a PROXY protocol header."""
    SMTP_OR_FTP = auto()
    """The first bytes look like a mail or FTP server, or a mail client."""
    RDP = auto()
    """The first bytes look like RDP."""
    SOCKS4_REPLY = auto()
    """The first bytes look like a SOCKS4 reply where another version was spoken."""
    SOCKS4 = auto()
    """The first bytes look like SOCKS4 where another version was spoken."""
    SOCKS5 = auto()
    """The first bytes look like SOCKS5 where another version was spoken."""
    NOT_SOCKS = auto()
    """The first bytes look like no known protocol."""
    NO_CONNECT = auto()
    """The peer speaks HTTP and refuses CONNECT, as web servers do that are no proxies."""

    # The peer speaks the protocol and breaks it.
    WRONG_VERSION = auto()
    """A later message has a wrong version byte."""
    UNKNOWN_COMMAND = auto()
    """The request has a command that its version of SOCKS does not have."""
    UNKNOWN_ADDRESS_TYPE = auto()
    """The type of an address is none of 1, 3 and 4."""
    MALFORMED = auto()
    """A message breaks its own format."""
    TOO_LONG = auto()
    """A message or a string in it is longer than allowed."""
    UNSOLICITED = auto()
    """The peer sent bytes after its reply, before it was sent anything that they could answer."""
    WRONG_METHOD = auto()
    """The proxy picked a login method that was not offered."""
    MISMATCH = auto()
    """The answer belongs to another question."""
    UNUSABLE = auto()
    """The answer is well-formed, and what it says cannot be used."""

    # Logins.
    LOGIN_REFUSED = auto()
    """The credentials were refused, or are not those that are accepted."""
    LOGIN_REQUIRED = auto()
    """The proxy requires a login, and none is configured for it."""
    NO_ACCEPTABLE_METHOD = auto()
    """None of the offered login methods is accepted."""
    TLS_FAILED = auto()
    """The TLS handshake failed, for a reason that no other cause describes."""
    CERTIFICATE_NAME = auto()
    """The certificate is for another name."""
    CERTIFICATE_EXPIRED = auto()
    """The certificate is not valid any more, or not yet."""
    CERTIFICATE_UNTRUSTED = auto()
    """No authority that is trusted here has signed the certificate."""
    PIN_MISMATCH = auto()
    """The public key of the certificate is none of those that are pinned."""
    GSSAPI_FAILED = auto()
    """The GSSAPI mechanism failed, or one of its messages could not be verified."""
    GSSAPI_ABORTED = auto()
    """The peer ended the GSSAPI exchange with an abort."""
    GSSAPI_PROTECTION = auto()
    """The two sides agree on no GSSAPI protection level."""
    NO_USER = auto()
    """The identd names no user for the connection."""

    # A TCP connect or a name lookup of this machine.
    CONNECTION_REFUSED = auto()
    """Nothing listens at that address and port."""
    NETWORK_UNREACHABLE = auto()
    """This machine has no route to that network."""
    HOST_UNREACHABLE = auto()
    """The host cannot be reached."""
    NO_ANSWER = auto()
    """The kernel gave up waiting for an answer to its connect."""
    NOT_ALLOWED = auto()
    """A rule of this machine, such as its firewall, forbids the connection."""
    NO_ADDRESS_FAMILY = auto()
    """This machine does not support that family of addresses."""
    TOO_MANY_FILES = auto()
    """This process, or this machine, can open no more files."""
    NO_LOCAL_PORT = auto()
    """This machine has no address of that family, or no port left, to connect from."""
    OUT_OF_MEMORY = auto()
    """This machine has no memory left for another connection."""
    SYSTEM_ERROR = auto()
    """The system reported an error that no other cause describes."""
    NAME_NOT_FOUND = auto()
    """The name has no address, or the address has no name."""
    RESOLVER_FAILED = auto()
    """The resolver answered that it cannot answer."""

    # The steps of a dial.
    TIMED_OUT = auto()
    """A step did not end within its limit."""
    UNSUPPORTED_ADDRESS = auto()
    """The hop's protocol cannot carry the address that the client asked for."""
    NEXT_UNSUPPORTED = auto()
    """The hop's protocol cannot carry the address of the next hop, or of the resolver."""
    REFUSED = auto()
    """The hop refused what the client asked for; its reply code says why."""
    NEXT_NOT_REACHED = auto()
    """The hop could not reach the next hop, or the resolver; its reply code says why."""


class ChainsocksError(Exception):
    """The root of every exception that chainsocks raises on purpose.

    Whatever a subclass's constructor takes, its instances can be copied and pickled, with all their attributes.
    """

    @property
    def discreet(self) -> str:
        """The error without anything that a client, a user or a destination could be known by."""
        return type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_blank, (type(self),), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes that a copy needs, by name."""
        return {**self.__dict__, "args": self.args}


def _make_blank(kind: type[ChainsocksError]) -> ChainsocksError:
    """Make an error without running its constructor; its attributes are set next."""
    return kind.__new__(kind)


class ProtocolError(ChainsocksError):
    """The peer sent something that the protocol does not allow, or that cannot be used; `cause` says which."""

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(message)
        self.cause = cause

    @property
    def discreet(self) -> str:
        """The cause: the message may quote the peer."""
        return self.cause.words


class LoginRefused(ProtocolError):
    """The two sides agree on no login: the credentials, or every method that was offered, were refused."""


_OPENINGS = (
    ((b"HTTP/",), Cause.HTTP_RESPONSE, "an HTTP server's answer"),
    (
        (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"PRI * "),
        Cause.HTTP_REQUEST,
        "HTTP",
    ),
    ((b"CONNECT ",), Cause.HTTP_CONNECT, "HTTP: a request to an HTTP proxy"),
    ((b"\x16\x03",), Cause.TLS, "TLS"),
    ((b"\x15\x03",), Cause.TLS_ALERT, "a TLS alert"),
    ((b"SSH-",), Cause.SSH, "SSH"),
    ((b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"), Cause.PROXY_PROTOCOL, "a PROXY protocol header"),
    ((b"220 ", b"220-", b"EHLO ", b"HELO "), Cause.SMTP_OR_FTP, "SMTP or FTP"),
    ((b"\x03\x00",), Cause.RDP, "RDP"),
    ((b"\x00\x5a", b"\x00\x5b", b"\x00\x5c", b"\x00\x5d"), Cause.SOCKS4_REPLY, "a SOCKS4 reply"),
    ((b"\x05",), Cause.SOCKS5, "SOCKS5"),
    ((b"\x04",), Cause.SOCKS4, "SOCKS4"),
)


def describe_opening(data: bytes) -> tuple[Cause, str]:
    """Guess the protocol of a peer by its first bytes: a cause, and ``looks like HTTP ('GET / HTTP/1.1')``."""
    shown = printable(data[:24].decode("latin-1"))
    for openings, cause, name in _OPENINGS:
        if data.startswith(openings):
            return cause, f"looks like {name} ('{shown}')"
    return Cause.NOT_SOCKS, f"looks like no known protocol ('{shown}')"


def unexpected_opening(problem: str, data: bytes) -> ProtocolError:
    """Return the error for first bytes that are not the expected ones: `problem`, and a guess at what they are."""
    cause, looks = describe_opening(data)
    return ProtocolError(f"{problem}; it {looks}", cause)
