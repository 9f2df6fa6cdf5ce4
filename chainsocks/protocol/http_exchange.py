"""One plain HTTP request through a proxy, and its response: bytes of one side in, bytes for the other side out.

1. h11 reads both messages, and writes them anew. A message that programs could read in two ways leaves in one way.
2. Fields that are for one connection do not travel on (RFC 9110 section 7.6.1), and neither do logins at a proxy,
   trailers and requests for another protocol. ``Host`` is that of the target (RFC 9112 section 3.2.2).
3. A message that is cut, or broken, is an error. It is never passed on as a whole one.
4. What has not been passed on is bounded: a header section, a line of a chunked body, or what was just received.

``Via`` is left as it came, unless `HttpExchange.via` is set. RFC 9110 section 7.6.3 asks each proxy to add itself to
it. That would tell every destination that its client uses a proxy; it is there to find loops, which end here with their
first client.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import h11

from chainsocks.protocol.address import Address, parse_address, printable
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.http_connect import authority, can_be_authority, problem_of

__all__ = ["MAX_RESPONSE_HEADER", "MOST_EVENTS", "WITH_MAX_FORWARDS", "HttpExchange", "Target", "parse_target"]

MAX_RESPONSE_HEADER = 32 * 1024
"""Bytes of the header section of a response, and of a line of its chunked body, at most some `PART` more."""

PART = 4 * 1024
"""Bytes of a header section that h11 gets at once."""

MOST_EVENTS = 200
"""Chunks of a body, and the like, that are read in one call: some milliseconds. A peer may send them in bytes."""

PORT = 80
_END = b"\r\n\r\n"
"""The end of a body in chunks: that of the last chunk or trailer, and an empty line (RFC 9112 section 7.1)."""

_FOR_ONE_CONNECTION = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NEVER_FOR_ONE = frozenset({b"content-length", b"host"})
"""Fields that ``Connection`` cannot name: the message would be another one without them."""
WITH_MAX_FORWARDS = frozenset({b"OPTIONS", b"TRACE"})
"""Methods whose ``Max-Forwards`` counts the proxies that may pass them on (RFC 9110 section 7.6.2)."""

Message = h11.Request | h11.InformationalResponse | h11.Response
Fields = list[tuple[bytes, bytes]]


class Target(NamedTuple):
    """Where a request goes, and for what."""

    address: Address
    host: bytes
    """What the server gets as ``Host``."""
    path: bytes
    """What the server gets as the target: the path and the query."""


def parse_target(method: bytes, target: bytes) -> Target:
    """Read the target of a request to a proxy, ``http://host/path?query`` (RFC 9112 section 3.2.2).

    Raises:
        ValueError: it is none; the message says why.
    """
    if target.startswith(b"/") or target == b"*":
        raise ValueError("it is a request to a web server, and this is a proxy: set it as the proxy of the program")
    scheme, slashes, rest = target.partition(b"://")
    if not slashes:
        raise ValueError("its target is not a URL")
    if scheme.lower() != b"http":
        raise ValueError(f"its target is {printable(scheme.decode('latin-1'))[:20]}://, which needs a CONNECT")
    host = rest[: min((at for at in map(rest.find, (b"/", b"?", b"#")) if at >= 0), default=len(rest))]
    path = rest[len(host) :]
    if b"#" in path:
        raise ValueError("its target has a fragment")
    if b"@" in host:
        raise ValueError("its target has a login in it")
    try:
        address = parse_address(host.decode("ascii"), PORT)
    except ValueError:
        address = None
    if address is None or not address.port or not can_be_authority(address):
        raise ValueError("its target is not http://host:port/path")
    if method == b"OPTIONS" and not path:
        path = b"*"  # RFC 9112 section 3.2.4
    elif not path.startswith(b"/"):
        path = b"/" + path
    return Target(address, authority(address).removesuffix(b":%d" % PORT), path)


class HttpExchange:
    """The exchange of `request`, which `client` has read, at `target`.

    A driver sends what `begin` and `from_client` return to the server, until `has_request`; and what `from_server`
    returns to the client, until `has_response`.
    """

    def __init__(self, client: h11.Connection, request: h11.Request, target: Target) -> None:
        self._client = client
        self._request = request
        self._target = target
        self._server = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_RESPONSE_HEADER)
        self.via = ""
        """The name of this proxy for ``Via``; empty for none."""
        self._is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        """Whether the body of the request is in chunks."""
        self._latest = b""
        """What has come from the client latest, of a body in chunks, with the bytes before it that may be its end."""
        self._unread = b""
        """What has come from the server, and h11 does not have yet."""
        self.client_has_more = self.server_has_more = False
        """Whether what has come is not all read: to go on after others had their turn, and before more is received."""
        self.has_request = False
        """Whether the request is complete, and has been returned."""
        self.has_answer = False
        """Whether the final response has begun, and its header section has been returned."""
        self.has_response = False
        """Whether the response is complete, and has been returned."""

    def begin(self, data: bytes) -> bytes:
        """Return the request for the server; `data` is what has come behind its header section.

        Raises:
            ProtocolError: as `from_client`.
        """
        request = self._request
        fields: Fields = [(b"Host", self._target.host)]
        for name, value in _passed_on(request):
            match name.lower():
                case b"host":
                    pass
                case b"max-forwards" if request.method in WITH_MAX_FORWARDS:
                    fields.append((name, _one_less(value)))
                case _:
                    fields.append((name, value))
        if self._is_chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        fields += self._own_via(request)
        fields.append((b"Connection", b"close"))
        head = self._server.send(h11.Request(method=request.method, target=self._target.path, headers=fields))
        return (head or b"") + self.from_client(data)

    def from_client(self, data: bytes = b"") -> bytes:
        """Take bytes of the client, and return those for the server; go on without, where `client_has_more`.

        Raises:
            ProtocolError: the body of the request is malformed.
        """
        if data:
            self._client.receive_data(data)
            if self._is_chunked:
                self._latest = self._latest[-len(_END) :] + data
        body, self.client_has_more = list[bytes](), False
        for _ in range(MOST_EVENTS):
            match self._event(self._client, "its body"):
                case h11.Data() as event:
                    body.append(event.data)
                case h11.EndOfMessage():
                    self._check_end()
                    self.has_request = True
                    break
                case _:
                    break
        else:
            self.client_has_more = True
        return _send(self._server, body, is_whole=self.has_request)

    def _check_end(self) -> None:
        """Refuse a body in chunks whose last line ends without CR: another program would see its end elsewhere.

        h11 allows that behind the last chunk only.
        """
        if self._is_chunked and not self._latest.removesuffix(self.trailing_data).endswith(_END):
            raise ProtocolError("its body has a line that does not end in CR LF", Cause.MALFORMED)
        self._latest = b""

    def from_server(self, data: bytes | None = None) -> bytes:
        """Take bytes of the server, none at its end, and return those for the client.

        Go on without `data` where `server_has_more`.

        Raises:
            ProtocolError: the response is malformed, or cut.
        """
        if data is not None:
            self._unread = data
            if not data:
                self._server.receive_data(data)
        out, body, has_answer, self.server_has_more = b"", list[bytes](), self.has_answer, False
        for _ in range(MOST_EVENTS):
            match self._event(self._server, "its response"):
                case h11.InformationalResponse() as event:
                    if self._request.http_version != b"1.0":  # RFC 9110 section 15.2
                        out += self._answer(h11.InformationalResponse, event)
                case h11.Response() as event:
                    out += self._answer(h11.Response, event)
                    has_answer = True
                case h11.Data() as event:
                    body.append(event.data)
                case h11.EndOfMessage():
                    self.has_response = True
                    break
                case _ if self._unread:
                    # h11 limits a header section that is not complete. So it gets one in parts.
                    size = len(self._unread) if has_answer else PART
                    self._server.receive_data(self._unread[:size])
                    self._unread = self._unread[size:]
                case _:
                    break
        else:
            self.server_has_more = True
        self.has_answer = has_answer
        return out + _send(self._client, body, is_whole=self.has_response)

    @property
    def keeps_client(self) -> bool:
        """Whether both messages are complete, and the client may send another request on its connection."""
        return self._client.our_state is h11.DONE and self._client.their_state is h11.DONE

    @property
    def trailing_data(self) -> bytes:
        """What the client has sent behind its request, once that is complete: the beginning of the next one."""
        return self._client.trailing_data[0]

    def keep(self, data: bytes) -> None:
        """Keep more of what the client sends behind its request, as `trailing_data`."""
        self._client.receive_data(data)

    def _answer(
        self, kind: type[h11.InformationalResponse | h11.Response], event: h11.InformationalResponse | h11.Response
    ) -> bytes:
        is_chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
        fields = [
            (name, value) for name, value in _passed_on(event) if not (is_chunked and name.lower() == b"content-length")
        ]
        fields += self._own_via(event)
        return self._client.send(kind(status_code=event.status_code, headers=fields, reason=event.reason)) or b""

    def _own_via(self, received: Message) -> Fields:
        return [(b"Via", b"%b %b" % (received.http_version, self.via.encode()))] if self.via else []

    def _event(self, connection: h11.Connection, what: str) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return connection.next_event()
        except h11.RemoteProtocolError as error:
            if connection.trailing_data[1]:
                end = " before the end of its response" if self.has_answer else ""
                raise ProtocolError(f"it closed the connection{end}", Cause.CLOSED) from None
            if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                raise ProtocolError(f"{what} has a header or a line that is too long", Cause.TOO_LONG) from None
            raise ProtocolError(f"{what} is not HTTP: {problem_of(error)}", Cause.MALFORMED) from None


def _passed_on(message: Message) -> Fields:
    """Return the fields that are not for one connection, as they are written."""
    headers = message.headers
    named = {name.strip().lower() for field, value in headers if field == b"connection" for name in value.split(b",")}
    dropped = _FOR_ONE_CONNECTION | (named - _NEVER_FOR_ONE)
    return [(name, value) for name, value in headers.raw_items() if name.lower() not in dropped]


def _send(connection: h11.Connection, body: list[bytes], *, is_whole: bool) -> bytes:
    """Return a part of a body as `connection` frames it, and its end if it `is_whole` with that."""
    data = b"".join(body)
    sent = (connection.send(h11.Data(data)) or b"") if data else b""
    return sent + (connection.send(h11.EndOfMessage()) or b"") if is_whole else sent


def _one_less(hops: bytes) -> bytes:
    """Return the ``Max-Forwards`` for the next server."""
    return b"%d" % (int(hops) - 1) if hops.isdigit() and int(hops) else hops
