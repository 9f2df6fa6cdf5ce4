"""Plain HTTP through a proxy: what of a request and of its response travels on, in which form, and what is an error."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.http_exchange import MAX_RESPONSE_HEADER, MOST_EVENTS, HttpExchange, parse_target
from chainsocks.protocol.http_proxy import HttpServerHandshake

GET = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"
POST = b"POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def begun(request: bytes) -> tuple[HttpExchange, bytes]:
    """Have a request heard; return its exchange, and what the server gets."""
    handshake = HttpServerHandshake()
    handshake.receive_data(request)
    assert handshake.exchange
    return handshake.exchange, handshake.exchange.begin(handshake.trailing_data)


def answered(request: bytes, *parts: bytes) -> tuple[HttpExchange, bytes]:
    """Have a request answered, in parts; return its exchange, and what the client gets."""
    exchange, _ = begun(request)
    return exchange, b"".join(exchange.from_server(part) for part in parts)


@pytest.mark.parametrize(
    ("target", "address", "host", "path"),
    [
        (b"http://example.org/a/b?c=d&e", Address("example.org", 80), b"example.org", b"/a/b?c=d&e"),
        (b"HTTP://Example.ORG", Address("Example.ORG", 80), b"Example.ORG", b"/"),
        (b"http://example.org:8080?x", Address("example.org", 8080), b"example.org:8080", b"/?x"),
        (b"http://example.org:/", Address("example.org", 80), b"example.org", b"/"),
        (b"http://192.0.2.1:80/http://b/", Address("192.0.2.1", 80), b"192.0.2.1", b"/http://b/"),
        (b"http://[2001:db8::1]/", Address("2001:db8::1", 80), b"[2001:db8::1]", b"/"),
        (b"http://[2001:db8::1]:81/", Address("2001:db8::1", 81), b"[2001:db8::1]:81", b"/"),
        (b"http://x//a@b", Address("x", 80), b"x", b"//a@b"),
    ],
)
def test_targets(target: bytes, address: Address, host: bytes, path: bytes) -> None:
    assert parse_target(b"GET", target) == (address, host, path)


def test_the_server_itself_is_asked_for_its_options() -> None:
    assert parse_target(b"OPTIONS", b"http://example.org").path == b"*"
    assert parse_target(b"OPTIONS", b"http://example.org/").path == b"/"


def test_what_of_a_request_travels_on() -> None:
    _, sent = begun(
        b"GET http://example.org:8080/x HTTP/1.1\r\nHost: elsewhere\r\nX-One: 1\r\nproxy-AUTHORIZATION: Basic eDp5\r\n"
        b"Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: websocket\r\n"
        b"Connection: upgrade, x-two,\r\nConnection: X-Three\r\nX-Two: 2\r\nX-Three: 3\r\nVia: 1.0 other\r\n"
        b"Authorization: Basic eDp5\r\nExpect: 100-continue\r\nX-One: 4\r\n\r\n"
    )
    assert sent == (
        b"GET /x HTTP/1.1\r\nHost: example.org:8080\r\nX-One: 1\r\nVia: 1.0 other\r\nAuthorization: Basic eDp5\r\n"
        b"Expect: 100-continue\r\nX-One: 4\r\nConnection: close\r\n\r\n"
    )


def test_a_proxy_with_a_name_adds_itself_to_via() -> None:
    handshake = HttpServerHandshake()
    handshake.receive_data(GET + b"Via: 1.0 other\r\n\r\n")
    exchange = handshake.exchange
    assert exchange
    exchange.via = "proxy-1"
    assert b"\r\nVia: 1.0 other\r\nVia: 1.1 proxy-1\r\n" in exchange.begin(b"")
    answer = exchange.from_server(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVia: 1.0 proxy-1\r\n\r\n"


@pytest.mark.parametrize("field", [b"Content-Length", b"Host"])
def test_connection_cannot_take_the_frame_away(field: bytes) -> None:
    _, sent = begun(POST + b"Connection: %b\r\nContent-Length: 2\r\n\r\nhi" % field)
    assert sent.endswith(b"Content-Length: 2\r\nConnection: close\r\n\r\nhi")
    assert b"Host: example.org\r\n" in sent


@pytest.mark.parametrize(("method", "left"), [(b"TRACE", b"4"), (b"OPTIONS", b"4"), (b"GET", b"5")])
def test_forwards_are_counted(method: bytes, left: bytes) -> None:
    _, sent = begun(GET.replace(b"GET", method) + b"Max-Forwards: 5\r\n\r\n")
    assert b"Max-Forwards: %b\r\n" % left in sent


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_bodies_of_requests(step: int) -> None:
    body = b"4\r\nWiki\r\n7;ext=1\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\nX-Trailer: 1\r\n\r\n"
    exchange, sent = begun(POST + CHUNKED + b"\r\n")
    assert sent.endswith(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    for start in range(0, len(body), step):
        assert not exchange.has_request
        sent += exchange.from_client(body[start : start + step])
    assert exchange.has_request
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent)
    assert isinstance(server.next_event(), h11.Request)
    data = b""
    while isinstance(event := server.next_event(), h11.Data):
        data += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert [*event.headers] == []
    assert data == b"Wikipedia in \r\nchunks."


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("end", [b"\n", b"X: y\n\n", b"X: y\r\n\n", b"X: y\n\r\n"])
def test_the_end_of_chunks_is_one_that_all_programs_see(end: bytes, step: int) -> None:
    body = b"2\r\nhi\r\n0\r\n" + end + b"GET http://example.org/ HTTP/1.1\r\nHost: x\r\n\r\n"
    exchange, _ = begun(POST + CHUNKED + b"\r\n")

    def hear() -> None:
        for start in range(0, len(body), step):
            exchange.from_client(body[start : start + step])

    with pytest.raises(ProtocolError, match="does not end in CR LF"):
        hear()
    assert not exchange.has_request


@pytest.mark.parametrize(
    "body",
    [
        b"4\nWiki\r\n",
        b"4\r\nWikiX\r\n0\r\n\r\n",
        b"4\r\nWiki\n0\r\n\r\n",
        b"-1\r\n",
        b"0x4\r\nWiki\r\n",
        b"g\r\n",
        b"1" * 21 + b"\r\n",
        b"1;" + b"x" * 70_000,
        b"0\r\n" + b"A: b\r\n" * 20_000,
        b"0\r\nno trailer\r\n\r\n",
    ],
)
def test_malformed_bodies(body: bytes) -> None:
    exchange, _ = begun(POST + CHUNKED + b"\r\n")
    with pytest.raises(ProtocolError, match="its body") as error:
        exchange.from_client(body + body)
    assert error.value.cause in (Cause.MALFORMED, Cause.TOO_LONG)


def test_what_follows_a_request_is_the_next_one() -> None:
    exchange, sent = begun(POST + b"Content-Length: 2\r\n\r\nhiGET ht")
    assert sent.endswith(b"\r\n\r\nhi")
    assert exchange.trailing_data == b"GET ht"
    exchange.keep(b"tp://")
    exchange.from_server(OK + b"Content-Length: 0\r\n\r\n")
    assert exchange.trailing_data == b"GET http://"


ANSWERS = {
    "a length": (GET, OK + b"Content-Length: 2\r\n\r\nhi", OK + b"Content-Length: 2\r\n\r\nhi"),
    "chunks": (
        GET,
        OK + CHUNKED + b"\r\n1\r\nh\r\n1\r\ni\r\n0\r\nX: trailer\r\n\r\n",
        OK + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    "chunks and a length": (
        GET,
        OK + b"Content-Length: 7\r\n" + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    "for one connection": (
        GET,
        OK + b"Connection: close, x\r\nX: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\n"
        b"Server: s\r\nContent-Length: 0\r\n\r\n",
        OK + b"Server: s\r\nContent-Length: 0\r\n\r\n",
    ),
    "HEAD": (GET.replace(b"GET", b"HEAD"), OK + b"Content-Length: 500\r\n\r\n", OK + b"Content-Length: 500\r\n\r\n"),
    "304": (GET, b"HTTP/1.1 304 Y\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 304 Y\r\nContent-Length: 9\r\n\r\n"),
    "204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "more behind it": (
        GET,
        OK + b"Content-Length: 2\r\n\r\nhi" + OK + b"Content-Length: 0\r\n\r\n",
        OK + b"Content-Length: 2\r\n\r\nhi",
    ),
    "hints before it": (
        GET,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("request_", "answer", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_responses(request_: bytes, answer: bytes, expected: bytes) -> None:
    exchange, got = answered(request_ + b"\r\n", answer)
    assert got == expected
    assert exchange.has_response
    assert exchange.keeps_client


def test_a_response_that_ends_with_its_connection() -> None:
    exchange, got = answered(GET + b"\r\n", OK + b"\r\nh", b"i", b"")
    assert got == OK + CHUNKED + b"\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"
    assert exchange.keeps_client


def test_a_client_of_http_1_0() -> None:
    request = b"GET http://example.org/ HTTP/1.0\r\n\r\n"
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n"
    exchange, got = answered(request, answer)
    assert got == OK + b"Connection: close\r\n\r\nhi"
    assert exchange.has_response
    assert not exchange.keeps_client


def test_a_client_that_has_not_sent_its_request_is_not_kept() -> None:
    exchange, _ = answered(POST + b"Content-Length: 9\r\n\r\nhi", b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    assert (exchange.has_request, exchange.has_response, exchange.keeps_client) == (False, True, False)


@pytest.mark.parametrize("connection", [b"close", b"x, Close"])
def test_a_client_that_wants_no_more(connection: bytes) -> None:
    exchange, got = answered(GET + b"Connection: %b\r\n\r\n" % connection, OK + b"Content-Length: 0\r\n\r\n")
    assert got.endswith(b"Connection: close\r\n\r\n")
    assert not exchange.keeps_client


BROKEN = {
    "nothing": ((b"",), Cause.CLOSED, False),
    "half a header": ((OK, b""), Cause.CLOSED, False),
    "a hint only": ((b"HTTP/1.1 100 Continue\r\n\r\n", b""), Cause.CLOSED, False),
    "half a body": ((OK + b"Content-Length: 5\r\n\r\nhi", b""), Cause.CLOSED, True),
    "half a chunk": ((OK + CHUNKED + b"\r\n5\r\nhi", b""), Cause.CLOSED, True),
    "no last chunk": ((OK + CHUNKED + b"\r\n2\r\nhi\r\n", b""), Cause.CLOSED, True),
    "a bad chunk": ((OK + CHUNKED + b"\r\n", b"x\r\n"), Cause.MALFORMED, True),
    "a bad chunk at once": ((OK + CHUNKED + b"\r\nx\r\n",), Cause.MALFORMED, False),
    "another protocol": ((b"SSH-2.0-x\r\n\r\n",), Cause.MALFORMED, False),
    "another protocol, unasked": ((b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",), Cause.MALFORMED, False),
    "two lengths": ((OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",), Cause.MALFORMED, False),
    "endless": ((OK + b"A: " + b"a" * MAX_RESPONSE_HEADER,), Cause.TOO_LONG, False),
    "endless lines": ((OK + b"A: b\r\n" * MAX_RESPONSE_HEADER,), Cause.TOO_LONG, False),
}


@pytest.mark.parametrize(("parts", "cause", "has_answer"), BROKEN.values(), ids=BROKEN)
def test_broken_responses(parts: tuple[bytes, ...], cause: Cause, has_answer: object) -> None:
    exchange, _ = answered(GET + b"\r\n", *parts[:-1])
    with pytest.raises(ProtocolError, match=r"^its response|^it closed the connection") as error:
        exchange.from_server(parts[-1])
    assert error.value.cause is cause
    assert exchange.has_answer is has_answer
    assert not exchange.has_response


def test_many_chunks_are_read_in_parts() -> None:
    """A peer that sends its body in bytes does not keep others waiting."""
    chunks = b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    exchange, sent = begun(POST + CHUNKED + b"\r\n")
    sent += exchange.from_client(chunks)
    calls = 1
    while exchange.client_has_more:
        sent += exchange.from_client()
        calls += 1
    assert (exchange.has_request, calls) == (True, 1001 // MOST_EVENTS + 1)
    assert sent.count(b"x" * (MOST_EVENTS - 1)) == calls - 1
    got = exchange.from_server(OK + CHUNKED + b"\r\n" + chunks)
    calls = 1
    while exchange.server_has_more:
        assert not exchange.has_response
        got += exchange.from_server()
        calls += 1
    assert (exchange.has_response, calls) == (True, 6)
    assert got.count(b"x") == 1000
    assert got.endswith(b"\r\n0\r\n\r\n")


def test_a_long_header_that_comes_at_once_is_too_long() -> None:
    exchange, _ = begun(GET + b"\r\n")
    with pytest.raises(ProtocolError, match="too long"):
        exchange.from_server(OK + b"A: b\r\n" * 7000 + b"\r\n")


PIECES = [b"\r\n", b"\n", b"2\r\nhi\r\n", b"0\r\n\r\n", b"GET ", b": ", b"HTTP/1.1 200 OK\r\n", CHUNKED, b"\0", b"5"]


@given(st.lists(st.sampled_from(PIECES)), st.integers(1, 9))
def test_any_body_is_read_in_one_way(pieces: list[bytes], step: int) -> None:
    """However it is cut, a body comes out as the same whole one, or as an error: the server sees no second request."""
    body = b"".join(pieces)
    results: list[tuple[bytes | None, bytes]] = []
    for size in (step, len(body) + 1):
        exchange, sent = begun(POST + CHUNKED + b"\r\n")
        try:
            for start in range(0, len(body), size):
                if exchange.has_request:
                    exchange.keep(body[start : start + size])
                else:
                    sent += exchange.from_client(body[start : start + size])
        except ProtocolError:
            results.append((None, b""))
            continue
        server = h11.Connection(h11.SERVER)
        server.receive_data(sent)
        events = []
        while (event := server.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            events.append(event)
        assert [type(event) for event in events].count(h11.Request) == 1
        assert server.trailing_data[0] == b""
        data = b"".join(event.data for event in events if isinstance(event, h11.Data))
        results.append((data, exchange.trailing_data if exchange.has_request else b""))
    assert results[0] == results[1]


@given(st.lists(st.sampled_from(PIECES)), st.integers(1, 9))
def test_any_response(pieces: list[bytes], step: int) -> None:
    """The client gets one response, whole or visibly cut."""
    exchange, _ = begun(GET + b"\r\n")
    answer, got = OK + b"".join(pieces), b""
    try:
        for start in range(0, len(answer), step):
            got += exchange.from_server(answer[start : start + step])
            if exchange.has_response:
                break
        else:
            got += exchange.from_server(b"")
    except ProtocolError:
        pass
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"x")]))
    client.send(h11.EndOfMessage())
    if got:
        client.receive_data(got)
    events = []
    while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        events.append(type(event))
    assert (h11.EndOfMessage in events) == exchange.has_response
    assert events.count(h11.Response) <= 1
    assert client.trailing_data[0] == b""
