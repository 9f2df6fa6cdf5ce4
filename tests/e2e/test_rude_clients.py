"""Clients that do not behave. The server says in its log what they did, and serves the next one."""

from __future__ import annotations

import random
import select
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import (
    GREETING,
    ask_socks5,
    connect,
    connected,
    read,
    read_to_end,
    reset,
    socks4_request,
    socks5_login,
    socks5_request,
)

HANDSHAKE = 0.8
"""Seconds that a client has for its request; some tests here have to wait for it to pass."""


@pytest.fixture(scope="module")
def server() -> Iterator[Chainsocks]:
    with chainsocks() as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[Chainsocks]:
    with chainsocks(handshake=HANDSHAKE) as running:
        yield running


@pytest.fixture(autouse=True)
def still_serves(server: Chainsocks, echo: SocketAddress) -> Iterator[None]:
    """Whatever a client does, the next one is served."""
    yield
    with connected(server.address, echo) as sock:
        sock.sendall(b"still there?")
        assert read(sock, 12) == b"still there?"


STRANGERS = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "it is a request to a web server", id="page"),
    pytest.param(b"CONNECT /etc/passwd HTTP/1.0\r\n\r\n", "the target of its CONNECT is not host:port", id="target"),
    pytest.param(b"CONNECT " + b"x" * 100_000, "its header is longer than", id="endless-line"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "looks like SSH", id="ssh"),
    pytest.param(b"EHLO example.org\r\n", "looks like SMTP", id="smtp"),
    pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "looks like a PROXY protocol header", id="proxy-header"),
    pytest.param(b"\x00", "looks like no known protocol", id="one-zero"),
    pytest.param(b"\xff" * 1000, "looks like no known protocol", id="ones"),
    pytest.param(random.Random(6).randbytes(100_000), "looks like no known protocol", id="garbage"),
    pytest.param(b"\x05\x00", "client, method negotiation: ", id="no-methods"),
    pytest.param(b"\x05\x01\x00\x04\x01\x00\x01", "client, request: ", id="socks4-after-socks5"),
    pytest.param(b"\x05\x01\x02\x05\x01a\x01b", "sub-negotiation: ", id="wrong-login-version"),
    pytest.param(b"\x04\x01\x00\x50\x7f\x00\x00\x01" + b"u" * 100_000, "client, request: ", id="endless-user"),
    pytest.param(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"n" * 100_000, "client, request: ", id="endless-name"),
    pytest.param(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", "client, request: ", id="name-without-a-letter"),
]


@pytest.mark.parametrize(("opening", "complaint"), STRANGERS)
def test_no_socks(server: Chainsocks, opening: bytes, complaint: str) -> None:
    """They are let go at once, and without a reset that would take our answer along."""
    with connect(server.address) as sock:
        sock.sendall(opening)
        read_to_end(sock)
        client = sock.getsockname()
    session = server.session(client)
    assert complaint in session
    assert len(session) < 500


def test_tls(server: Chainsocks) -> None:
    context = ssl.create_default_context()
    with connect(server.address) as sock:
        client = sock.getsockname()
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(sock, server_hostname="example.org")
    assert "looks like TLS" in server.session(client)


CONVERSATIONS = {
    "nothing": [],
    "half-a-greeting": [b"\x05"],
    "no-methods": [b"\x05\x02\x00"],
    "greeting": [GREETING],
    "half-a-request": [GREETING, b"\x05\x01\x00\x01\x7f\x00"],
    "half-a-name": [GREETING, b"\x05\x01\x00\x03\xffabc"],
    "half-a-login": [b"\x05\x01\x02", b"\x01\x05car"],
    "login": [b"\x05\x01\x02", socks5_login("carol", "x")],
    "socks4-no-user": [b"\x04\x01\x00\x50\x7f\x00\x00\x01"],
    "socks4-half-a-name": [b"\x04\x01\x00\x50\x00\x00\x00\x01\x00abc"],
}
"""What was said before the client fell silent, or worse; each part but the last has an answer."""


def say(sock: socket.socket, parts: list[bytes]) -> None:
    for number, part in enumerate(parts):
        sock.sendall(part)
        if number < len(parts) - 1:
            assert read(sock, 2)


def test_silence(impatient: Chainsocks) -> None:
    """All of them wait at the same time, each at another step."""
    socks = [connect(impatient.address) for _ in CONVERSATIONS]
    clients = [sock.getsockname() for sock in socks]
    for sock, parts in zip(socks, CONVERSATIONS.values(), strict=True):
        say(sock, parts)
    for sock in socks:
        with sock:
            read_to_end(sock)
    for client in clients:
        assert f"no complete request (within {HANDSHAKE:g} s)" in impatient.session(client)


def test_a_trickle_does_not_stretch_the_limit(impatient: Chainsocks) -> None:
    """The limit is for the whole, not for each byte."""
    with connect(impatient.address) as sock:
        client = sock.getsockname()
        sock.sendall(b"\x04\x01\x00\x50\x7f\x00\x00\x01")
        for _ in range(200):  # of up to a tenth of a second each
            if select.select([sock], [], [], 0.1)[0]:
                break
            sock.sendall(b"u")
        else:
            raise AssertionError("it listens for ever")
    assert f"no complete request (within {HANDSHAKE:g} s)" in impatient.session(client)


@pytest.mark.parametrize("parts", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_reset(server: Chainsocks, parts: list[bytes]) -> None:
    for _ in range(5):
        sock = connect(server.address)
        client = sock.getsockname()
        say(sock, parts)
        reset(sock)
        assert "it reset the connection" in server.session(client)


@pytest.mark.parametrize("parts", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_client_that_leaves(server: Chainsocks, parts: list[bytes]) -> None:
    with connect(server.address) as sock:
        client = sock.getsockname()
        say(sock, parts)
        sock.shutdown(socket.SHUT_WR)
        read_to_end(sock)
    session = server.session(client)
    assert "it left without a word" in session if not parts else "closed" in session


@pytest.mark.parametrize("early", [b"", b"early data"], ids=["request", "early-data"])
def test_a_reset_behind_the_request(server: Chainsocks, echo: SocketAddress, early: bytes) -> None:
    for _ in range(5):
        sock = connect(server.address)
        client = sock.getsockname()
        sock.sendall(GREETING + socks5_request(echo) + early)
        reset(sock)
        session = server.session(client)
        assert "it reset the connection" in session or "left before its reply" in session or "reset by" in session


def test_a_reset_of_an_open_way(server: Chainsocks, echo: SocketAddress) -> None:
    with connect(server.address) as sock:
        client = sock.getsockname()
        assert ask_socks5(sock, echo) == 0
        reset(sock)
    assert "reset by the client" in server.session(client)


FLOWS = ["socks4", "socks4a", "socks5", "socks5-name", "socks5-login"]


def flow(kind: str, target: SocketAddress) -> tuple[bytes, int]:
    """All that a client says up to its request, and the length of all that it is told when that goes well."""
    name = ("localhost", target[1])
    match kind:
        case "socks4":
            return socks4_request(target, "fred"), 8
        case "socks4a":
            return socks4_request(name, "fred"), 8
        case "socks5":
            return GREETING + socks5_request(target), 2 + 10
        case "socks5-name":
            return GREETING + socks5_request(name), 2 + 10
        case _:
            return b"\x05\x02\x02\x80" + socks5_login("fred", "any") + socks5_request(target), 2 + 2 + 10


def succeeded(kind: str, answer: bytes) -> bool:
    """Whether a client is told that its way is open, by each part of the answer."""
    if kind.startswith("socks4"):
        return answer[:2] == b"\x00\x5a"
    if kind == "socks5-login":
        return answer[:4] == b"\x05\x02\x01\x00" and answer[4:8] == b"\x05\x00\x00\x01"
    return answer[:6] == b"\x05\x00\x05\x00\x00\x01"


@pytest.mark.parametrize("kind", FLOWS)
def test_one_byte_at_a_time(server: Chainsocks, echo: SocketAddress, kind: str) -> None:
    opening, size = flow(kind, echo)
    with connect(server.address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in opening:
            sock.sendall(bytes((byte,)))
            select.select([], [], [], 0.001)  # for the server to take it alone, which it does nearly always
        assert succeeded(kind, read(sock, size))
        sock.sendall(b"data")
        assert read(sock, 4) == b"data"


@pytest.mark.parametrize("kind", FLOWS)
def test_everything_in_one_segment(server: Chainsocks, echo: SocketAddress, kind: str) -> None:
    """What follows the request before the reply is data already."""
    opening, size = flow(kind, echo)
    early = b"early data" * 1000
    with connect(server.address) as sock:
        client = sock.getsockname()
        sock.sendall(opening + early)
        sock.shutdown(socket.SHUT_WR)
        assert succeeded(kind, read(sock, size))
        assert read_to_end(sock) == early
    session = server.session(client)
    assert " reply=00 " in session
    assert f" up={len(early)} down={len(early)} " in session


def wait_for_end(sock: socket.socket) -> None:
    """Wait until the other side has finished, without reading anything."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    assert poll.poll(PATIENCE * 1000)


@pytest.mark.parametrize("kind", FLOWS)
def test_early_data_for_nobody(server: Chainsocks, closed_port: SocketAddress, kind: str) -> None:
    """A client that goes on talking after its refusal is not reset before it has read that."""
    opening, size = flow(kind, closed_port)
    with connect(server.address) as sock:
        sock.sendall(opening + b"early data" * 1000)
        wait_for_end(sock)
        for _ in range(20):
            sock.sendall(b"early data" * 1000)
            select.select([], [], [], 0.001)
        answer = read_to_end(sock)
    assert len(answer) == size
    assert (b"\x00\x5b" if kind.startswith("socks4") else b"\x05\x05\x00\x01") in answer
