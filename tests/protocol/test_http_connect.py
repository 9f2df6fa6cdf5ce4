"""The client of HTTP CONNECT: what it sends, and what it makes of any answer, in any segmentation."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.http_connect import MAX_HEADER, HttpConnectHandshake, authority
from chainsocks.protocol.messages import ReplyCode, UsernamePassword

TARGET = Address("example.org", 443)
CAROL = UsernamePassword(b"carol", b"open: sesame")

GRANTED = {
    "200": b"HTTP/1.1 200 Connection established\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\n\r\n",
    "no reason": b"HTTP/1.1 200 \r\n\r\n",
    "201": b"HTTP/1.1 201 Created\r\n\r\n",
    "a length, which means nothing here": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    "chunked, which means nothing here": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "after 100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "lines without CR": b"HTTP/1.1 200 OK\nVia: x\n\n",
}
REFUSED = {
    b"HTTP/1.1 403 Forbidden\r\n\r\n": (ReplyCode.NOT_ALLOWED_BY_RULESET, "403 Forbidden"),
    b"HTTP/1.1 451\r\n\r\n": (ReplyCode.NOT_ALLOWED_BY_RULESET, "451"),
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nsad": (ReplyCode.HOST_UNREACHABLE, "502 Bad Gateway"),
    b"HTTP/1.1 504 Gateway Timeout\r\n\r\n": (ReplyCode.TTL_EXPIRED, "504 Gateway Timeout"),
    b"HTTP/1.1 500 Unable to connect\r\n\r\n": (ReplyCode.GENERAL_FAILURE, "500 Unable to connect"),
    b"HTTP/1.1 503 Service Unavailable\r\n\r\n": (ReplyCode.GENERAL_FAILURE, "503 Service Unavailable"),
    b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n": (ReplyCode.GENERAL_FAILURE, "302 Found"),
    b"HTTP/1.1 999 " + b"x" * 200 + b"\r\n\r\n": (ReplyCode.GENERAL_FAILURE, "999 " + "x" * 80),
}
BROKEN = {
    "SOCKS": (b"\x05\x00", Cause.SOCKS5, "it did not answer in HTTP; it looks like SOCKS5"),
    "TLS": (b"\x15\x03\x03\x00\x02\x02\x28", Cause.TLS_ALERT, "it looks like a TLS alert"),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", Cause.MALFORMED, "its response is not HTTP"),
    "no header": (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", Cause.MALFORMED, "its response is not HTTP"),
    "no CONNECT": (
        b"HTTP/1.0 405 No\r\nAllow: GET\r\n\r\n",
        Cause.NO_CONNECT,
        "as web servers do that are no proxies: 405 No",
    ),
    "no method": (b"HTTP/1.1 501 Unknown\r\n\r\n", Cause.NO_CONNECT, "it refuses CONNECT"),
    "no request": (b"HTTP/1.1 400\r\n\r\n", Cause.NO_CONNECT, "no proxies: 400"),
    "endless": (b"HTTP/1.1 200 OK\r\nA: " + b"a" * MAX_HEADER, Cause.TOO_LONG, "its header is longer than"),
    "endless lines": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * MAX_HEADER, Cause.TOO_LONG, "its header is longer than"),
}


def answered(handshake: HttpConnectHandshake, answer: bytes, step: int = 1 << 20) -> HttpConnectHandshake:
    handshake.data_to_send()
    for start in range(0, len(answer), step):
        handshake.receive_data(answer[start : start + step])
    return handshake


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (TARGET, b"example.org:443"),
        (Address("192.0.2.1", 1), b"192.0.2.1:1"),
        (Address("2001:db8::1", 65535), b"[2001:db8::1]:65535"),
        (Address("fe80::1", 22, scope=3), b"[fe80::1]:22"),
    ],
)
def test_what_it_asks_for(target: Address, named: bytes) -> None:
    request = HttpConnectHandshake(target).data_to_send()
    assert request == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (named, named)


def test_the_login_is_basic() -> None:
    request = HttpConnectHandshake(TARGET, CAROL).data_to_send()
    assert b"\r\nProxy-Authorization: Basic Y2Fyb2w6b3Blbjogc2VzYW1l\r\n" in request


@pytest.mark.parametrize(
    "name", ["a b", "a\r\nX: y", "a/b", "a@b", "a\x00b".replace("\x00", "\x01"), "bücher", "a#b", "a:b"]
)
def test_no_name_ends_the_line_or_the_authority(name: str) -> None:
    with pytest.raises(ValueError, match="HTTP cannot carry"):
        authority(Address(name, 80))


@pytest.mark.parametrize("answer", GRANTED.values(), ids=GRANTED)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_way_that_is_open(answer: bytes, step: int) -> None:
    handshake = answered(HttpConnectHandshake(TARGET), answer + b"220 welcome\r\n", step)
    if step == 1:
        assert handshake.done
    assert handshake.reply.succeeded
    assert handshake.trailing_data.endswith(b"220 welcome\r\n"[-(step if step < 13 else 13) :]) or step == 1


@pytest.mark.parametrize("answer", GRANTED.values(), ids=GRANTED)
def test_no_more_is_asked_for_than_the_answer_has(answer: bytes) -> None:
    handshake, rest = HttpConnectHandshake(TARGET), answer + b"payload"
    handshake.data_to_send()
    while not handshake.done:
        wanted = handshake.missing
        assert wanted > 0
        handshake.receive_data(rest[:wanted])
        rest = rest[wanted:]
    assert (rest, handshake.trailing_data) == (b"payload", b"")


@pytest.mark.parametrize(("answer", "meaning"), REFUSED.items())
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_refusals(answer: bytes, meaning: tuple[ReplyCode, str], step: int) -> None:
    head = answer[: answer.index(b"\r\n\r\n") + 4] if step == 1 else answer
    reply = answered(HttpConnectHandshake(TARGET, CAROL), head, step).reply
    assert (reply.code, reply.described) == meaning


@pytest.mark.parametrize(
    ("challenge", "login", "cause", "says"),
    [
        (b'Basic realm="x"', CAROL, Cause.LOGIN_REFUSED, "it refused the username or the password"),
        (b'Digest realm="Basic, x", nonce="y", BASIC realm="z"', CAROL, Cause.LOGIN_REFUSED, "it refused"),
        (b"basic", None, Cause.LOGIN_REQUIRED, "it requires a username and a password"),
        (b'Digest realm="a, b", qop="auth"', CAROL, Cause.NO_ACCEPTABLE_METHOD, "it wants a login by Digest, and only"),
        (b"Negotiate, NTLM", None, Cause.NO_ACCEPTABLE_METHOD, "it wants a login by Negotiate or NTLM, and only"),
        (b"", None, Cause.LOGIN_REQUIRED, "it requires a username and a password"),
    ],
)
def test_a_login_is_wanted(challenge: bytes, login: UsernamePassword | None, cause: Cause, says: str) -> None:
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    answer += b"Proxy-Authenticate: %b\r\n\r\n" % challenge if challenge else b"\r\n"
    handshake = HttpConnectHandshake(TARGET, login)
    with pytest.raises(LoginRefused, match=says) as error:
        answered(handshake, answer)
    assert error.value.cause is cause
    assert "sesame" not in str(error.value)
    assert handshake.step is State.REQUEST


def test_a_wrong_login_at_tinyproxy() -> None:
    answer = b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
    with pytest.raises(LoginRefused, match=r"it refused the username or the password \(401\)"):
        answered(HttpConnectHandshake(TARGET, CAROL), answer)


@pytest.mark.parametrize(("answer", "cause", "says"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_what_is_no_answer(answer: bytes, cause: Cause, says: str, step: int) -> None:
    if step == 1 and not answer.startswith(b"H"):
        says = "it did not answer in HTTP"
    with pytest.raises(ProtocolError, match=says) as error:
        answered(HttpConnectHandshake(TARGET), answer, step)
    assert error.value.cause is cause or step == 1


def test_it_hangs_up() -> None:
    handshake = answered(HttpConnectHandshake(TARGET), b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(ProtocolError, match="the connection was closed during the request, 17 bytes into a message"):
        handshake.receive_data(b"")


@given(st.sampled_from([b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n"]), st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes(opening: bytes, data: bytes, step: int) -> None:
    handshake = HttpConnectHandshake(TARGET, CAROL)
    with suppress(ProtocolError):
        answered(handshake, opening + data, step)
    assert handshake.done or handshake.state in (State.REQUEST, State.FAILED)
