"""The server's side of an HTTP proxy: the request of a client, and a refusal of it.

1. h11 reads the request. What h11 forgives and servers behind us may read in another way is refused before it: a line
   that ends without CR, a continued line, a body that is announced twice or in two ways.
2. Nothing of a CONNECT (RFC 9110 section 9.3.6) travels on: the way that it opens begins with the first byte behind
   its header section. Any other request for an ``http://`` URL has an exchange (`chainsocks.protocol.http_exchange`).
3. A refusal is an answer with the status that its reply code stands for. Its body is the sentence of the log.
4. A request for a path gets an answer of 400: a web page that reaches this port gets nothing else.
5. One empty line before a request is ignored (RFC 9112 section 2.2): old clients send one behind a body.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPMethod, HTTPStatus

import h11

from chainsocks.protocol.address import Address, parse_address
from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError, unexpected_opening
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.http_connect import can_be_authority, problem_of
from chainsocks.protocol.http_exchange import WITH_MAX_FORWARDS, HttpExchange, parse_target
from chainsocks.protocol.messages import Command, Method, Reply, ReplyCode, Request, UsernamePassword, Version

__all__ = ["MAX_HEADER", "HttpServerHandshake", "has_begun", "may_be_http", "status_of"]

MAX_HEADER = 32 * 1024
"""Bytes of the header section of a request."""

_WEBDAV = ["COPY", "LOCK", "MERGE", "MKACTIVITY", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "REPORT", "SEARCH"]
_METHODS = tuple(b"%b " % method.encode() for method in (*HTTPMethod, *_WEBDAV, "CHECKOUT", "UNLOCK"))
"""Those of HTTP, and of WebDAV and its extensions, such as Subversion's; other protocols begin with words as well."""
_END = b"\r\n\r\n"
_EMPTY_LINE = b"\r\n"
_LONE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0").search
_CONTINUED = re.compile(rb"\r\n[ \t]").search
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_LENGTHS = re.compile(rb"\r\ncontent-length[ \t]*:([^\r]*)", re.IGNORECASE).findall
_SUCCESS = b"HTTP/1.1 200 Connection established\r\n\r\n"

_STATUSES: Mapping[int, HTTPStatus] = {
    ReplyCode.NOT_ALLOWED_BY_RULESET: HTTPStatus.FORBIDDEN,
    ReplyCode.TTL_EXPIRED: HTTPStatus.GATEWAY_TIMEOUT,
    ReplyCode.COMMAND_NOT_SUPPORTED: HTTPStatus.NOT_IMPLEMENTED,
}
_CHALLENGE = (b"Proxy-Authenticate", b'Basic realm="chainsocks", charset="UTF-8"')
"""RFC 7617 section 2."""


def may_be_http(data: bytes) -> bool:
    """Whether `data` is the beginning of a request: a method, or a part of one, behind an empty line or not."""
    return not has_begun(data) or _begins_with_method(data.removeprefix(_EMPTY_LINE))


def has_begun(data: bytes) -> bool:
    """Whether `data` is more than the empty line that may come before a request, or a part of that."""
    return not _EMPTY_LINE.startswith(data)


def _begins_with_method(data: bytes) -> bool:
    return any(data.startswith(method[: len(data)]) for method in _METHODS)


def status_of(code: int) -> HTTPStatus:
    """Return the status that a reply code stands for: 502 for everything that failed on the way."""
    return _STATUSES.get(code, HTTPStatus.BAD_GATEWAY)


class HttpServerHandshake(ServerHandshake):
    """The server of one request. `methods` are those that SOCKS5 would accept: they say whether a login is wanted.

    The handshake waits in LOGIN with `login` set, as that of SOCKS5 does. In REPLY, `exchange` is set unless the
    request is a CONNECT. An exchange is passed on instead of a reply that succeeds.
    """

    __slots__ = ("_has_begun", "_http", "_methods", "_searched", "exchange")

    def __init__(self, methods: Sequence[Method] = (Method.NO_AUTHENTICATION_REQUIRED,)) -> None:
        super().__init__(State.REQUEST)
        self._methods = methods
        self._searched = 0
        """How much of what has arrived has no end of the header section."""
        self._has_begun = False
        """Whether more than the empty line before a request has arrived."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self.exchange: HttpExchange | None = None

    def _advance(self) -> bool:
        if self.state is not State.REQUEST:
            return False
        if not self._has_begun:
            if not has_begun(self._incoming):
                return False
            self._has_begun = True
            self._incoming = self._incoming.removeprefix(_EMPTY_LINE)
        data = self._incoming
        if not _begins_with_method(data):
            raise unexpected_opening("this is neither SOCKS nor HTTP", data)
        end = data.find(_END, max(0, self._searched - len(_END)), MAX_HEADER)
        if end < 0:
            self._searched = len(data)
            if len(data) >= MAX_HEADER:
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                raise self._bad(status, f"its header is longer than {MAX_HEADER} bytes", Cause.TOO_LONG)
            return False
        end += len(_END)
        self._incoming = data[end:]
        self._read_header(data[:end])
        return False

    def _read_header(self, header: bytes) -> None:
        if _LONE(header) or _CONTINUED(header):
            raise self._malformed("a line of its header does not end in CR LF, or is continued")
        try:
            self._http.receive_data(header)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise self._malformed(f"its request is not HTTP: {problem_of(error)}") from None
        if not isinstance(event, h11.Request):
            raise self._malformed("its request is incomplete")
        if event.http_version not in (b"1.0", b"1.1"):
            status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
            raise self._bad(status, "its version of HTTP is neither 1.0 nor 1.1", Cause.WRONG_VERSION)
        if event.method == b"CONNECT":
            if any(name in _FRAMING for name, _ in event.headers):
                raise self._malformed("a CONNECT has no body, and its header announces one")
            target = self._target(event.target)
        else:
            self._check_body(header, event)
            self._check_forwards(event)
            target = self._begin_exchange(event)
        login = self._login(event.headers)
        self._credentials = login if Method.USERNAME_PASSWORD in self._methods else None
        self._request = Request(Version.HTTP, Command.CONNECT, target, self._credentials)
        if self._credentials:
            self.state = State.LOGIN
        elif Method.NO_AUTHENTICATION_REQUIRED in self._methods:
            self.state = State.REPLY
        elif Method.USERNAME_PASSWORD in self._methods:
            raise self._login_wanted("it sent no username and no password", Cause.LOGIN_REQUIRED)
        else:
            problem = "a login by GSSAPI is required, and HTTP has none"
            raise self._bad(HTTPStatus.FORBIDDEN, problem, Cause.LOGIN_REQUIRED)

    def _check_body(self, header: bytes, request: h11.Request) -> None:
        """Refuse a body whose end two programs may see in two places. `header` is what h11 has put in order."""
        lengths, names = _LENGTHS(header), {name for name, _ in request.headers}
        if len(lengths) > 1 or b"," in b"".join(lengths):
            raise self._malformed("its body has two lengths")
        if names >= _FRAMING:
            raise self._malformed("its body has a length, and is chunked")
        if b"transfer-encoding" in names and request.http_version == b"1.0":
            raise self._malformed("HTTP/1.0 has no chunked bodies")  # RFC 9112 section 6.1

    def _check_forwards(self, request: h11.Request) -> None:
        """Refuse what asks this server to answer by itself (RFC 9110 section 7.6.2)."""
        if request.method in WITH_MAX_FORWARDS and (b"max-forwards", b"0") in request.headers:
            problem = "its Max-Forwards is 0, and this proxy has no answers of its own"
            raise self._bad(HTTPStatus.NOT_IMPLEMENTED, problem, Cause.UNKNOWN_COMMAND)

    def _begin_exchange(self, request: h11.Request) -> Address:
        try:
            target = parse_target(request.method, request.target)
        except ValueError as error:
            raise self._malformed(str(error)) from None
        self.exchange = HttpExchange(self._http, request, target)
        return target.address

    def _target(self, target: bytes) -> Address:
        try:
            address = parse_address(target.decode("ascii"))
        except ValueError:
            address = None
        if address is None or not address.port or not can_be_authority(address):
            raise self._malformed("the target of its CONNECT is not host:port")
        return address

    def _login(self, headers: Iterable[tuple[bytes, bytes]]) -> UsernamePassword | None:
        given = [value for name, value in headers if name == b"proxy-authorization"]
        if not given:
            return None
        scheme, _, encoded = given[0].partition(b" ")
        try:
            user, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
        except ValueError:
            colon = b""
        problem = ""
        if len(given) > 1:
            problem = "it has more than one login"
        elif scheme.lower() != b"basic":
            problem = "its login is not by Basic, which is the only kind supported"
        elif not colon:
            problem = "its login by Basic is malformed: it has to be username:password in base64"
        if problem:
            raise self._login_wanted(problem, Cause.NO_ACCEPTABLE_METHOD)
        return UsernamePassword(user, password)

    def _login_wanted(self, problem: str, cause: Cause) -> LoginRefused:
        """Queue an answer of 407, and return the error to raise."""
        self._answer(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, problem, _CHALLENGE)
        return LoginRefused(problem, cause)

    def _answer_login(self, *, accepted: bool) -> None:
        if accepted:
            self.state = State.REPLY
        else:
            self._answer(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "wrong username or password", _CHALLENGE)

    def _encode_reply(self, reply: Reply) -> bytes:
        if reply.succeeded:
            return _SUCCESS
        return self._encode(status_of(reply.code), reply.problem)

    def refuse_body(self, error: ProtocolError) -> None:
        """Refuse a request whose body is malformed, before its response has begun."""
        self.state = State.REQUEST
        self._answer(HTTPStatus.BAD_REQUEST, str(error))
        self._fail()

    def _malformed(self, problem: str) -> ProtocolError:
        return self._bad(HTTPStatus.BAD_REQUEST, problem, Cause.MALFORMED)

    def _bad(self, status: HTTPStatus, problem: str, cause: Cause) -> ProtocolError:
        """Queue an answer of `status`, and return the error to raise."""
        self._answer(status, problem)
        return ProtocolError(problem, cause)

    def _answer(self, status: HTTPStatus, problem: str, *headers: tuple[bytes, bytes]) -> None:
        self._outgoing += self._encode(status, problem, *headers)

    def _encode(self, status: HTTPStatus, problem: str, *headers: tuple[bytes, bytes]) -> bytes:
        body = f"{problem or status.phrase}\n".encode("utf-8", "replace")
        lines = [
            b"HTTP/1.1 %d %b" % (status, status.phrase.encode()),
            *(b"%b: %b" % header for header in headers),
            b"Content-Type: text/plain; charset=utf-8",
            b"Content-Length: %d" % len(body),
            b"Connection: close",
        ]
        return b"\r\n".join(lines) + _END + body
