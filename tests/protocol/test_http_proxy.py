"""The server of an HTTP proxy: what it takes for a request, what it refuses, and in which words."""

from __future__ import annotations

from collections.abc import Sequence

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.http_connect import HttpConnectHandshake
from chainsocks.protocol.http_proxy import MAX_HEADER, HttpServerHandshake
from chainsocks.protocol.messages import Command, Method, Reply, ReplyCode, UsernamePassword, Version

OPEN = (Method.NO_AUTHENTICATION_REQUIRED,)
PRIVATE = (Method.USERNAME_PASSWORD,)
BY_TICKET = (Method.GSSAPI,)
CAROL = UsernamePassword(b"carol", b"open: sesame")
LOGIN = b"Proxy-Authorization: Basic Y2Fyb2w6b3Blbjogc2VzYW1l\r\n"
PLAIN = b"POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"
CONNECT = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n"


def hear(handshake: HttpServerHandshake, request: bytes, step: int) -> None:
    for start in range(0, len(request), step):
        handshake.receive_data(request[start : start + step])


def heard(request: bytes, methods: Sequence[Method] = OPEN, step: int = 1 << 20) -> HttpServerHandshake:
    handshake = HttpServerHandshake(methods)
    hear(handshake, request, step)
    return handshake


def answer_of(handshake: HttpServerHandshake) -> tuple[int, dict[bytes, bytes], bytes]:
    """Read what it answers as any client of HTTP does: status, header, and the whole body."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(handshake.data_to_send())
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return response.status_code, dict(response.headers), body


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("target", "address"),
    [
        (b"example.org:443", Address("example.org", 443)),
        (b"192.0.2.1:80", Address("192.0.2.1", 80)),
        (b"[2001:db8::1]:22", Address("2001:db8::1", 22)),
    ],
)
def test_a_request(target: bytes, address: Address, step: int) -> None:
    early = b"\x16\x03\x01 and more\r\n\r\n"
    handshake = heard(b"CONNECT %b HTTP/1.1\r\nHost: elsewhere:1\r\nX: y\r\n\r\n" % target + early, step=step)
    assert handshake.state is State.REPLY
    assert (handshake.request.version, handshake.request.command) == (Version.HTTP, Command.CONNECT)
    assert handshake.request.destination == address
    assert handshake.request.credentials is None
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED, Address("192.0.2.9", 1)))
    assert handshake.data_to_send() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert handshake.done
    assert handshake.trailing_data == early


@pytest.mark.parametrize("step", [1, 2, 1 << 20])
def test_an_empty_line_before_a_request_is_ignored(step: int) -> None:
    handshake = heard(b"\r\n" + CONNECT + b"\r\nearly", step=step)
    assert handshake.request.destination == Address("example.org", 443)
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
    assert handshake.trailing_data == b"early"


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("opening", [b"\r\n\r\n", b"\rGET", b"\n", b"\r\nSSH-"])
def test_nothing_else_before_a_request_is(opening: bytes, step: int) -> None:
    with pytest.raises(ProtocolError, match="this is neither SOCKS nor HTTP"):
        heard(opening, step=step)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ReplyCode.GENERAL_FAILURE, 502),
        (ReplyCode.NOT_ALLOWED_BY_RULESET, 403),
        (ReplyCode.CONNECTION_REFUSED, 502),
        (ReplyCode.TTL_EXPIRED, 504),
        (0x77, 502),
    ],
)
def test_a_refusal_says_why(code: int, status: int) -> None:
    handshake = heard(CONNECT + b"\r\n")
    handshake.send_reply(Reply(code, problem="hop osaka (2 of 3), TCP connect: no answer … \ud800"))
    said, header, body = answer_of(handshake)
    assert said == status
    assert header[b"connection"] == b"close"
    assert body == "hop osaka (2 of 3), TCP connect: no answer … ?\n".encode()
    assert handshake.state is State.FAILED


def test_a_login() -> None:
    handshake = heard(CONNECT + LOGIN + b"\r\nearly", PRIVATE)
    assert (handshake.state, handshake.login) == (State.LOGIN, CAROL)
    handshake.accept_login()
    assert handshake.state is State.REPLY
    assert handshake.request.credentials == CAROL
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
    assert handshake.trailing_data == b"early"


def test_a_login_that_nobody_wants_is_dropped() -> None:
    assert heard(CONNECT + LOGIN + b"\r\n").request.credentials is None


def test_a_wrong_login() -> None:
    handshake = heard(CONNECT + LOGIN + b"\r\n", PRIVATE)
    handshake.refuse_login()
    status, header, body = answer_of(handshake)
    assert status == 407
    assert header[b"proxy-authenticate"].startswith(b"Basic realm=")
    assert b"sesame" not in body
    assert handshake.state is State.FAILED


@pytest.mark.parametrize(
    ("header", "methods", "status", "cause"),
    [
        (b"", PRIVATE, 407, Cause.LOGIN_REQUIRED),
        (b"Proxy-Authorization: Digest username=x\r\n", PRIVATE, 407, Cause.NO_ACCEPTABLE_METHOD),
        (b"Proxy-Authorization: Basic !!!\r\n", PRIVATE, 407, Cause.NO_ACCEPTABLE_METHOD),
        (b"Proxy-Authorization: Basic Y2Fyb2w=\r\n", PRIVATE, 407, Cause.NO_ACCEPTABLE_METHOD),
        (LOGIN + LOGIN, PRIVATE, 407, Cause.NO_ACCEPTABLE_METHOD),
        (LOGIN, BY_TICKET, 403, Cause.LOGIN_REQUIRED),
    ],
)
def test_logins_that_are_none(header: bytes, methods: Sequence[Method], status: int, cause: Cause) -> None:
    handshake = HttpServerHandshake(methods)
    with pytest.raises(ProtocolError) as error:
        handshake.receive_data(CONNECT + header + b"\r\n")
    assert error.value.cause is cause
    assert isinstance(error.value, LoginRefused) or methods is BY_TICKET
    said, fields, body = answer_of(handshake)
    assert (said, b"proxy-authenticate" in fields) == (status, status == 407)
    assert body == f"{error.value}\n".encode(), "what the log says"


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"Proxy-Authorization: Digest username=x\r\n", "not by Basic"),
        (b"Proxy-Authorization: Basic !!!\r\n", "malformed: it has to be username:password in base64"),
        (b"Proxy-Authorization: Basic Y2Fyb2w=\r\n", "malformed: it has to be username:password in base64"),
        (LOGIN + LOGIN, "more than one login"),
    ],
)
def test_what_is_said_of_such_a_login(header: bytes, problem: str) -> None:
    with pytest.raises(LoginRefused, match=problem):
        HttpServerHandshake(PRIVATE).receive_data(CONNECT + header + b"\r\n")


BAD = {
    "a page": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a page of HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", 400),
    "all of this server": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no URL": (b"GET example.org:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "https": (b"GET https://example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "ftp": (b"GET ftp://example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL without a host": (b"GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL with port 0": (b"GET http://example.org:0/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL with a wrong port": (b"GET http://example.org:8O/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL with IPv6 without brackets": (b"GET http://::1/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a login in the URL": (b"GET http://a:b@example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a fragment": (b"GET http://example.org/#a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a quoted host": (b"GET http://ex%61mple.org/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "plain, without Host": (b"GET http://example.org/ HTTP/1.1\r\n\r\n", 400),
    "plain, two Hosts": (PLAIN + b"Host: b\r\n\r\n", 400),
    "plain, two lengths": (PLAIN + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    "plain, a length twice": (PLAIN + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\n", 400),
    "plain, a list of lengths": (PLAIN + b"Content-Length: 5, 5\r\n\r\n", 400),
    "plain, a signed length": (PLAIN + b"Content-Length: +5\r\n\r\n", 400),
    "plain, an endless length": (PLAIN + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n", 400),
    "plain, chunked and a length": (PLAIN + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    "plain, a length and chunked": (PLAIN + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "plain, chunked twice": (PLAIN + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "plain, another encoding": (PLAIN + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "plain, an obscure encoding": (PLAIN + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    "plain, chunks of HTTP/1.0": (
        b"GET http://example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "plain, a space before the colon": (PLAIN + b"Content-Length : 5\r\n\r\n", 400),
    "plain, a lone LF": (PLAIN + b"A: b\nContent-Length: 5\r\n\r\n", 400),
    "plain, a continued line": (PLAIN + b"A: b\r\n\tc\r\n\r\n", 400),
    "plain, only LF": (PLAIN.replace(b"\r", b"") + b"\r\n\r\n", 400),
    "no more forwards": (b"TRACE http://example.org/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n", 501),
    "no port": (b"CONNECT example.org HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "port 0": (b"CONNECT example.org:0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL": (b"CONNECT http://example.org:80/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a login in the target": (b"CONNECT a:b@example.org:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bytes beyond ASCII": ("CONNECT bücher.example:80 HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 400),
    "no Host": (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (CONNECT + b"Host: b\r\n\r\n", 400),
    "a lone LF": (CONNECT + b"A: b\nC: d\r\n\r\n", 400),
    "a lone CR": (CONNECT + b"A: b\rC: d\r\n\r\n", 400),
    "a NUL": (CONNECT + b"A: b\0\r\n\r\n", 400),
    "a continued line": (CONNECT + b"A: b\r\n c\r\n\r\n", 400),
    "a space before the colon": (CONNECT + b"A : b\r\n\r\n", 400),
    "a length": (CONNECT + b"Content-Length: 5\r\n\r\nhello", 400),
    "two lengths": (CONNECT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    "chunked": (CONNECT + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and a length": (CONNECT + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    "another version": (b"CONNECT example.org:443 HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    "endless": (CONNECT + b"A: " + b"a" * MAX_HEADER, 431),
    "endless lines": (CONNECT + b"A: b\r\n" * MAX_HEADER, 431),
}


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize(("request_", "status"), BAD.values(), ids=BAD)
def test_what_is_no_request(request_: bytes, status: int, step: int) -> None:
    handshake = HttpServerHandshake(OPEN)
    with pytest.raises(ProtocolError):
        hear(handshake, request_, step)
    assert answer_of(handshake)[0] == status
    assert handshake.step is State.REQUEST


@pytest.mark.parametrize(
    "opening", [b"GETX / HTTP/1.1\r\n", b"get / HTTP/1.1\r\n", b"CONNECTION", b"PROXY TCP4", b"PRI * HTTP/2"]
)
def test_other_words_are_no_http(opening: bytes) -> None:
    handshake = HttpServerHandshake(OPEN)
    with pytest.raises(ProtocolError, match="this is neither SOCKS nor HTTP"):
        hear(handshake, opening, 1)
    assert handshake.data_to_send() == b""


def test_client_and_server_understand_each_other() -> None:
    for target in (Address("example.org", 443), Address("2001:db8::1", 1), Address("192.0.2.1", 65535)):
        client, server = HttpConnectHandshake(target, CAROL), HttpServerHandshake(PRIVATE)
        server.receive_data(client.data_to_send())
        server.accept_login()
        assert server.request.destination == target
        server.send_reply(Reply(ReplyCode.SUCCEEDED))
        client.receive_data(server.data_to_send())
        assert client.reply.succeeded


@pytest.mark.parametrize(
    "line", [b"Proxy-Authorization : Basic Y2Fyb2w6c2VjcmV0", b"Y2Fyb2w6c2VjcmV0", b"Cookie: Y2F \x0bx"]
)
def test_a_malformed_line_is_not_quoted(line: bytes) -> None:
    handshake = HttpServerHandshake(OPEN)
    with pytest.raises(ProtocolError) as error:
        handshake.receive_data(PLAIN + line + b"\r\n\r\n")
    assert str(error.value) == "its request is not HTTP: illegal header line"
    assert b"Y2F" not in handshake.data_to_send()


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_plain_request(step: int) -> None:
    handshake = heard(PLAIN + b"Content-Length: 5\r\n\r\nhello", step=step)
    assert handshake.state is State.REPLY
    assert handshake.request.destination == Address("example.org", 80)
    assert (handshake.request.version, handshake.request.command) == (Version.HTTP, Command.CONNECT)
    assert handshake.exchange
    assert handshake.trailing_data == b"hello"


def test_a_plain_request_logs_in() -> None:
    handshake = heard(PLAIN + LOGIN + b"\r\n", PRIVATE)
    assert (handshake.state, handshake.login) == (State.LOGIN, CAROL)
    handshake.accept_login()
    assert handshake.exchange
    assert b"uthorization" not in handshake.exchange.begin(b"")


def test_a_plain_request_without_a_login() -> None:
    handshake = HttpServerHandshake(PRIVATE)
    with pytest.raises(LoginRefused):
        handshake.receive_data(PLAIN + b"\r\n")
    assert answer_of(handshake)[0] == 407


@pytest.mark.parametrize("method", [b"PROPFIND", b"REPORT", b"PATCH", b"HEAD"])
def test_methods_of_plain_requests(method: bytes) -> None:
    assert heard(PLAIN.replace(b"POST", method) + b"\r\n", step=1).exchange


def test_a_malformed_body_is_refused() -> None:
    handshake = heard(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n")
    handshake.refuse_body(ProtocolError("its body is not HTTP", Cause.MALFORMED))
    assert answer_of(handshake)[::2] == (400, b"its body is not HTTP\n")
    assert (handshake.state, handshake.step) == (State.FAILED, State.REQUEST)


@pytest.mark.parametrize("opening", [CONNECT, PLAIN], ids=["connect", "plain"])
@given(
    parts=st.lists(
        st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"A: b", b"Host: x", b"\xff", b"Content-Length: 5"])
    )
)
def test_any_header(opening: bytes, parts: list[bytes]) -> None:
    handshake = HttpServerHandshake(OPEN)
    data = opening + b"".join(parts) + b"\r\n\r\n"
    try:
        handshake.receive_data(data)
    except ProtocolError:
        assert answer_of(handshake)[0] in (400, 431)
        return
    assert handshake.state is State.REPLY
    assert handshake.trailing_data == data[data.index(b"\r\n\r\n") + 4 :]
