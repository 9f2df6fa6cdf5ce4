"""Kerberos for real, in a realm of our own: our server, our hops, dante's client and server, curl's negotiation."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import anyio
import pytest

import chainsocks as library
from tests.e2e.dante import gssapi_danted, socksified
from tests.e2e.kerberos import HOST, Realm
from tests.e2e.programs import PATIENCE, SocketAddress, clean_environment, find_program
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import CHUNK, MIB, PAGE, bulk, exchange, serving
from tests.e2e.wire import ask_socks5, connect, connected, read, read_to_end

LEVELS = pytest.mark.parametrize("protection", ["none", "integrity", "confidentiality"])
ABORTED = "it ended the GSSAPI exchange with an abort"
ONLY_CAROL = 'gssapi_principals = ["carol@TEST.EXAMPLE"]'


def for_carol(realm: Realm) -> AbstractContextManager[Chainsocks]:
    """Our server, for carol, at any level."""
    lines = ['gssapi = "none"', f'gssapi_keytab = "{realm.keytab}"', ONLY_CAROL]
    environment = realm.environment() | {"KRB5_KTNAME": "/nonexistent"}
    return chainsocks(server_lines=lines, environment=environment)


@pytest.fixture(scope="module")
def guarded(realm: Realm) -> Iterator[Chainsocks]:
    with for_carol(realm) as server:
        yield server


def hop(address: SocketAddress, protection: str, service: str = "rcmd", host: str = HOST) -> str:
    url = f"socks5://{address[0]}:{address[1]}"
    return f'{{ url = "{url}", gssapi = "{protection}", gssapi_service = "{service}", gssapi_host = "{host}" }}'


# --- ours against ours ------------------------------------------------------------------------------------------------


@LEVELS
def test_a_session_at_each_level(
    realm: Realm, guarded: Chainsocks, source_and_sink: SocketAddress, protection: str
) -> None:
    size = 2 * MIB
    with chainsocks(hop(guarded.address, protection, "socks"), environment=realm.environment("carol")) as front:
        with connected(front.address, source_and_sink) as sock:
            exchange(sock, size)
            client = sock.getsockname()
        assert f" up={size + 8} down={size + 64} " in front.session(client)
    session = guarded.wait_for(
        f" user=gssapi:carol@TEST.EXAMPLE command=CONNECT destination=127.0.0.1:{source_and_sink[1]} "
    )
    assert 'outcome="finished"' in session.string
    assert " for " not in session.string


def test_capsules_within_capsules_carry_half_close(realm: Realm, guarded: Chainsocks, echo: SocketAddress) -> None:
    with for_carol(realm) as inner:
        hops = [hop(guarded.address, "integrity"), hop(inner.address, "confidentiality", "socks")]
        with chainsocks(*hops, environment=realm.environment("carol")) as front, connected(front.address, echo) as sock:
            sock.sendall(b"x" * MIB)
            sock.shutdown(socket.SHUT_WR)
            assert read_to_end(sock) == b"x" * MIB


@pytest.mark.parametrize(
    ("user", "service", "ours", "theirs"),
    [
        (
            "eve",
            "rcmd",
            "it ended the GSSAPI exchange with an abort",
            "eve@TEST.EXAMPLE is not among gssapi_principals",
        ),
        (
            "carol",
            "host",
            "it ended the GSSAPI exchange with an abort",
            "it has a ticket for host, which is not among gssapi_services",
        ),
        ("carol", "smtp", "smtp/localhost@TEST.EXAMPLE not found in Kerberos database", "the connection was closed"),
        ("nobody", "rcmd", "; run kinit, or set KRB5_CLIENT_KTNAME", "the connection was closed"),
    ],
    ids=["principal", "service", "unknown", "no-tickets"],
)
def test_who_is_refused(
    realm: Realm, guarded: Chainsocks, page: SocketAddress, user: str, service: str, ours: str, theirs: str
) -> None:
    with chainsocks(hop(guarded.address, "none", service), environment=realm.environment(user)) as front:
        with connect(front.address) as sock:
            assert ask_socks5(sock, page) == 1
            client = sock.getsockname()
        session = front.session(client)
        assert "hop hop1 (1 of 1)" in session
        assert ", GSSAPI context: " in session
        assert ours in session
    assert guarded.wait_for(f'outcome="client, GSSAPI context: {theirs}')


def test_less_protection_than_the_server_takes(realm: Realm, page: SocketAddress) -> None:
    lines = ['gssapi = "confidentiality"', 'gssapi_services = ["rcmd"]']
    with (
        chainsocks(server_lines=lines, environment=realm.environment()) as server,
        chainsocks(hop(server.address, "integrity"), environment=realm.environment("carol")) as front,
        connected(front.address, page) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_to_end(sock).endswith(PAGE)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_library(
    realm: Realm, guarded: Chainsocks, page: SocketAddress, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in realm.environment("carol").items():
        monkeypatch.setenv(name, value)
    login = library.Gssapi(library.Protection.CONFIDENTIALITY, host=HOST)
    hop = library.Hop("guarded", library.HopProtocol.SOCKS5, library.Address(*guarded.address), login)

    async def fetch() -> bytes:
        said = b""
        async with await library.connect_tcp(*page, chain=library.Chain(hop)) as stream:
            await stream.send(b"GET / HTTP/1.0\r\n\r\n")
            async for data in stream:
                said += data
        return said

    assert anyio.run(fetch, backend=backend).endswith(PAGE)


# --- dante ------------------------------------------------------------------------------------------------------------


@LEVELS
def test_dantes_client(realm: Realm, guarded: Chainsocks, protection: str, tmp_path: Path) -> None:
    """It is in curl here, which does one thing after the other: dante's library has trouble with threads."""
    body = b"".join(bulk(1, 2 * MIB))
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(body)
    environment = socksified(tmp_path, realm, (HOST, guarded.address[1]), protection)
    with serving(mirror) as (host, port):
        options = ["-q", "-sS", "--noproxy", "*", "-H", "Expect:", "--data-binary", f"@{sent}", "-o", str(received)]
        command = [find_program("curl", "curl"), *options, f"http://{host}:{port}/"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        log = tmp_path / "socks.log"
        assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
        assert received.read_bytes() == body
        session = guarded.wait_for(f"user=gssapi:carol@TEST.EXAMPLE command=CONNECT destination={host}:{port} ").string
    assert 'outcome="finished"' in session


def mirror(sock: socket.socket) -> None:
    """Answer an HTTP request with its own body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read(sock, 1)
    [size] = [int(line.split()[1]) for line in head.splitlines() if line.lower().startswith(b"content-length:")]
    sock.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + read(sock, size))


@LEVELS
def test_dantes_server(realm: Realm, source_and_sink: SocketAddress, protection: str, tmp_path: Path) -> None:
    with (
        gssapi_danted(tmp_path, realm, protection) as address,
        chainsocks(hop(address, protection), environment=realm.environment("carol")) as front,
        connected(front.address, source_and_sink) as sock,
    ):
        exchange(sock, 2 * MIB)


def test_dantes_server_wants_another_level(realm: Realm, page: SocketAddress, tmp_path: Path) -> None:
    with (
        gssapi_danted(tmp_path, realm, "integrity") as address,
        chainsocks(hop(address, "confidentiality"), environment=realm.environment("carol")) as front,
        connect(front.address) as sock,
    ):
        assert ask_socks5(sock, page) == 1
        client = sock.getsockname()
        sock.close()
        assert ", GSSAPI protection level: the connection was closed" in front.session(client)


# --- curl -------------------------------------------------------------------------------------------------------------


def test_curls_negotiation(realm: Realm, guarded: Chainsocks, page: SocketAddress, tmp_path: Path) -> None:
    """Debian 12's curl comes to the end of it, and then to its own: it takes the method for an unknown one.

    It also forgets that it has offered GSSAPI unless the answer is there when it looks for the first time. So somebody
    in between answers before they are asked, and curl tries until that was in time.
    """

    def answer_at_once(sock: socket.socket) -> None:
        sock.sendall(b"\x05\x01")
        with connect(guarded.address) as server:
            server.sendall(b"\x05\x01\x01")
            assert read(server, 2) == b"\x05\x01"
            greeting = read(sock, 2)
            read(sock, greeting[1])
            back = threading.Thread(target=copy, args=(server, sock))
            back.start()
            copy(sock, server)
            back.join()

    curl = find_program("curl", "curl")
    deadline = time.monotonic() + PATIENCE
    said = TOO_LATE
    with serving(answer_at_once) as (_, port):
        options = ["-q", "-sv", "--noproxy", "", "--socks5-gssapi", "-x", f"socks5h://{HOST}:{port}"]
        environment = clean_environment(tmp_path, **realm.environment("carol"))
        while TOO_LATE in said and time.monotonic() < deadline:
            command = [curl, *options, f"http://127.0.0.1:{page[1]}/"]
            said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stderr
    assert "SOCKS5 server authenticated user carol@TEST.EXAMPLE with GSS-API" in said
    assert "SOCKS5 access without GSS-API data protection granted" in said
    guarded.wait_for('outcome="client, request: ')


TOO_LATE = "SOCKS5 GSSAPI per-message authentication is not supported"


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass everything on, and the end of it."""
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them has left
