"""Clients that leave while the server dials, over real sockets: the poller reports it, and their data stays unread."""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from chainsocks.config.chains import Chain
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server, Timeouts
from chainsocks.protocol.address import Address
from chainsocks.server.serve import serve
from chainsocks.session.client_watch import GRACE
from tests.net.sockets import LOOPBACK
from tests.server.serving import ANY_PORT, connect, serving

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture
REQUEST = bytes.fromhex("05 01 00 03 0b") + b"example.org" + b"\0\x50"
RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: on, for 0 seconds


@pytest.fixture
def config() -> Iterator[Config]:
    """A server whose only hop takes connections and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as silent:
        hop = f"socks5://{LOOPBACK}:{silent.getsockname()[1]}"
        yield Config(Server(listen=(ANY_PORT,)), Timeouts(hop=8), chains={"default": Chain(hop)})


async def ask(client: socket.socket, *, at_once: bool) -> None:
    """Ask for a destination, with greeting and request in one segment or in two."""
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(client.dup()))
    async with stream:
        await stream.send_all(bytes.fromhex("05 01 00") + (REQUEST if at_once else b""))
        assert await stream.receive_some() == bytes.fromhex("05 00")
        if not at_once:
            await stream.send_all(REQUEST)
        await trio.sleep(1)


async def outcome(log: Log) -> str:
    """Wait for the session's line, and return its outcome."""
    while True:
        for record in log.records:
            if "outcome=" in record.getMessage():
                return record.getMessage().partition("outcome=")[2]
        await trio.sleep(0.1)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("data", "resets", "says", "seconds"),
    [
        (b"", True, "the client left before its reply", 0),
        (b"hello", True, "the client left before its reply", 0),
        (b"", False, "the client finished its side, and may have left", GRACE),
        (b"hello", False, "no complete answer", 7),
    ],
    ids=["reset", "reset behind data", "finished", "half-close"],
)
async def test_a_client_that_leaves(
    data: bytes,
    resets: bool,  # noqa: FBT001
    says: str,
    seconds: float,
    at_once: bool,  # noqa: FBT001
    config: Config,
    sockets_on_mock_clock: MockClock,
    log: Log,
) -> None:
    async with serving(config) as server:
        with connect(server.address).socket as client:
            await ask(client, at_once=at_once)
            if data:
                client.send(data)
            began = trio.current_time()
            if resets:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
            else:
                client.shutdown(socket.SHUT_WR)
            assert says in await outcome(log)
            assert trio.current_time() - began == pytest.approx(seconds, abs=0.5)


async def test_a_ring_of_two_servers_dies_with_its_client(sockets_on_mock_clock: MockClock, log: Log) -> None:
    """Two servers that are each other's hop made thousands of sessions of one request, and went on after its end."""
    log.set_level(logging.INFO)
    with socket.create_server((LOOPBACK, 0)) as one, socket.create_server((LOOPBACK, 0)) as other:
        ports = [sock.getsockname()[1] for sock in (one, other)]
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        for own, peer in (ports, ports[::-1]):
            server = Server(listen=(Listener(Address(LOOPBACK, own)),), max_sessions=100)
            chain = Chain(f"socks5://{LOOPBACK}:{peer}")
            await nursery.start(functools.partial(serve, Config(server, chains={"default": chain}), stopping))
        with connect(f"{LOOPBACK}:{ports[0]}").socket as client:
            await ask(client, at_once=True)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await trio.sleep(2)
        sessions = log.text.count("outcome=")
        assert sessions > 1
        await trio.sleep(60)
        assert log.text.count("outcome=") <= sessions + 1
        stopping.set()
