"""The client's side of HTTP CONNECT (RFC 9110 section 9.3.6), the request that a hop of the protocol ``http`` gets.

1. h11 writes the request and reads the response. A header section has at most `MAX_HEADER` bytes.
2. A final response of 2xx ends the handshake with its header section: what follows is the first data of the stream,
   whatever the header says of a body.
3. Any other final response is a refusal. Its body is not read; the connection is of no further use. One by which web
   servers refuse the method itself is an error: the peer is no proxy, or has no CONNECT.
4. The only login is Basic (RFC 7617). A response of 407 is the end of the handshake, as a refused login is in SOCKS5.
"""

from __future__ import annotations

import re
from base64 import b64encode
from http import HTTPStatus

import h11

from chainsocks.protocol.address import Address, AddressType, printable
from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError, unexpected_opening
from chainsocks.protocol.handshake import ClientHandshake, State
from chainsocks.protocol.messages import Reply, ReplyCode, UsernamePassword

__all__ = ["MAX_HEADER", "MAX_PART", "HttpConnectHandshake", "authority", "can_be_authority", "problem_of"]

MAX_HEADER = 16 * 1024
"""Bytes of the header section of a response; a hop that sends more has broken the protocol."""

MAX_PART = 1024
"""Bytes of a username or a password; Basic has no limit of its own."""

_OPENING = b"HTTP/"
_NAME = re.compile(rb"[A-Za-z0-9_.~!$&'()*+,;=-]+").fullmatch
"""A reg-name without percent-encoding (RFC 3986 section 3.2.2)."""
_QUOTED = re.compile(r""":? (bytearray\(|b['"]).*""", re.DOTALL).sub
_SCHEMES = re.compile(r"""(?:^|,)\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?=\s|,|$)(?!\s*=)""")
"""The authentication schemes of a challenge, and nothing of its parameters (RFC 9110 section 11.3)."""

_CODES = {
    HTTPStatus.FORBIDDEN: ReplyCode.NOT_ALLOWED_BY_RULESET,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: ReplyCode.NOT_ALLOWED_BY_RULESET,
    HTTPStatus.BAD_GATEWAY: ReplyCode.HOST_UNREACHABLE,
    HTTPStatus.GATEWAY_TIMEOUT: ReplyCode.TTL_EXPIRED,
}
"""What a status means in the terms of SOCKS. Every other refusal is a general failure: proxies send 500 and 503 for
failures of their own and of the destination alike."""


_NO_CONNECT = {HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
"""How web servers answer a CONNECT: Apache and nginx with the second one, older ones of nginx with the first one."""

_LOGIN_WANTED = {HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.UNAUTHORIZED}
"""tinyproxy answers a wrong login with the second one."""
_CHALLENGES = {b"proxy-authenticate", b"www-authenticate"}


def problem_of(error: h11.RemoteProtocolError) -> str:
    """Return what h11 says of a message, without what it quotes: a line that is malformed may have a login in it."""
    return printable(_QUOTED("", str(error)))


def can_be_authority(target: Address) -> bool:
    """Whether a request can name `target`. A name with other characters could end the request line."""
    return target.type is not AddressType.DOMAINNAME or _NAME(target.packed) is not None


def authority(target: Address) -> bytes:
    """Return ``host:port`` as requests name it, with IPv6 in brackets.

    Raises:
        ValueError: `target` is a name that a request cannot carry.
    """
    if not can_be_authority(target):
        raise ValueError(f"HTTP cannot carry {target}")
    host = target.packed if target.type is AddressType.DOMAINNAME else target.host.encode()
    return b"[%b]:%d" % (host, target.port) if target.type is AddressType.IPV6 else b"%b:%d" % (host, target.port)


class HttpConnectHandshake(ClientHandshake):
    """One CONNECT to `target`, with a login if there are `credentials`.

    Raises:
        ValueError: `target` is a name that a request cannot carry.
    """

    opening = _OPENING[0]

    __slots__ = ("_has_login", "_http")

    def __init__(self, target: Address, credentials: UsernamePassword | None = None) -> None:
        super().__init__(State.REQUEST)
        self._has_login = credentials is not None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        where = authority(target)
        headers = [(b"Host", where)]
        if credentials:
            login = b64encode(b"%b:%b" % (credentials.username, credentials.password))
            headers.append((b"Proxy-Authorization", b"Basic " + login))
        request = h11.Request(method=b"CONNECT", target=where, headers=headers)
        self._outgoing = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    @property
    def missing(self) -> int:
        """The bytes that still have to come, at least: those of an empty line."""
        return 1 if self._incoming.endswith((b"\n", b"\n\r")) else 2

    def receive_data(self, data: bytes) -> None:
        """Process bytes from the hop, as every handshake does."""
        if data:
            self._http.receive_data(data)
        super().receive_data(data)

    def _advance(self) -> bool:
        if self.state is not State.REQUEST:
            return False
        if not self._incoming.startswith(_OPENING[: len(self._incoming)]):
            raise unexpected_opening("it did not answer in HTTP", self._incoming)
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            is_long = error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            if is_long:
                raise ProtocolError(f"its header is longer than {MAX_HEADER} bytes", Cause.TOO_LONG) from None
            raise ProtocolError(f"its response is not HTTP: {problem_of(error)}", Cause.MALFORMED) from None
        match event:
            case h11.InformationalResponse():
                self._incoming = self._http.trailing_data[0]
                return True
            case h11.Response():
                self._read_response(event)
        return False

    def _read_response(self, response: h11.Response) -> None:
        status = response.status_code
        if status in _LOGIN_WANTED:
            raise self._login_refused(response)
        rest = self._http.trailing_data[0]
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            self._finish(Reply(ReplyCode.SUCCEEDED), rest)
            return
        said = f"{status} {printable(response.reason.decode('latin-1'))[:80]}".rstrip()
        if status in _NO_CONNECT:
            raise ProtocolError(f"it refuses CONNECT, as web servers do that are no proxies: {said}", Cause.NO_CONNECT)
        code = _CODES.get(status, ReplyCode.GENERAL_FAILURE)  # type: ignore[call-overload]
        self._finish(Reply(code, status=said), b"")

    def _login_refused(self, response: h11.Response) -> LoginRefused:
        challenges = [value.decode("latin-1") for name, value in response.headers if name in _CHALLENGES]
        schemes = [scheme for challenge in challenges for scheme in _SCHEMES.findall(challenge)]
        if schemes and not any(scheme.lower() == "basic" for scheme in schemes):
            wanted = " or ".join(printable(scheme)[:40] for scheme in schemes[:4])
            return LoginRefused(
                f"it wants a login by {wanted}, and only Basic is supported", Cause.NO_ACCEPTABLE_METHOD
            )
        if self._has_login:
            return LoginRefused(
                f"it refused the username or the password ({response.status_code})", Cause.LOGIN_REFUSED
            )
        return LoginRefused(f"it requires a username and a password ({response.status_code})", Cause.LOGIN_REQUIRED)
