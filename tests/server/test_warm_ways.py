"""Warm ways of a server on real sockets: its log, its end, another configuration; and no byte of another session."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream
from trio.testing import MockClock

import chainsocks.net.poller as poller_module
from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config, HealthSettings, Timeouts
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address, parse_address
from chainsocks.server.server import Server, open_server
from chainsocks.session.login import Logins
from tests.net.sockets import LOOPBACK, descriptors, read_exactly
from tests.server.serving import config_of, connect, echoing, greet, open_session, said, serving

Log = pytest.LogCaptureFixture


@pytest.fixture(params=["poller", "no poller"])
def _each_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no poller":
        monkeypatch.setattr(poller_module, "AVAILABLE", False)


def with_hops(config: Config, *addresses: str, warm: int = 1) -> Config:
    """Have requests go through hops at these addresses."""
    hops = [Hop(f"hop {address}", HopProtocol.SOCKS5, parse_address(address)) for address in addresses]
    return replace(config, chains={"default": Chain(*hops, warm=warm)})


def sessions_of(log: Log) -> list[str]:
    """Return what the session lines of a chain say of warm ways."""
    lines = [line for line in said(log, logging.INFO) if "chain=default" in line]
    return ["warm=1" if " warm=1 " in line else "cold" for line in lines]


async def echo_once(server: Server, destination: Address) -> None:
    async with connect(str(server.listeners[0])) as client:
        await open_session(client, destination)
        await client.send(b"hello")
        assert await read_exactly(client, 5) == b"hello"
    await trio.sleep(1)


@pytest.mark.usefixtures("_each_network")
async def test_the_second_session_is_warm_and_says_so(sockets_on_mock_clock: MockClock, log: Log) -> None:
    log.set_level(logging.INFO, "chainsocks")
    async with echoing() as destination, open_server(config_of()) as first, open_server(config_of()) as second:
        hops = [str(one.listeners[0]) for one in (first, second)]
        async with open_server(with_hops(config_of(), *hops)) as server:
            for _ in range(3):
                await echo_once(server, destination)
            assert sessions_of(log) == ["cold", "warm=1", "warm=1"]
            assert second.admission.taken == 1  # the next one


@pytest.mark.usefixtures("_each_network")
async def test_a_hop_that_hangs_up(sockets_on_mock_clock: MockClock, log: Log) -> None:
    log.set_level(logging.INFO, "chainsocks")
    limited = replace(config_of(), timeouts=Timeouts(handshake=10))
    async with echoing() as destination, open_server(limited) as hop:
        config = with_hops(config_of(), str(hop.listeners[0]))
        async with open_server(config) as server:
            for _ in range(3):
                await echo_once(server, destination)
                await trio.sleep(14)
            assert sessions_of(log) == ["cold", "warm=1", "warm=1"]
            ended = [line for line in said(log, logging.INFO) if "no complete request" in line]
            assert len(ended) == 1  # the first; then the limit was known
            assert said(log, logging.WARNING) == []


async def test_another_configuration_has_its_own(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with echoing() as destination, open_server(config_of()) as first, open_server(config_of()) as second:
        config = with_hops(config_of(), str(first.listeners[0]))
        async with open_server(config) as server:
            await echo_once(server, destination)
            assert (first.admission.taken, second.admission.taken) == (1, 0)
            changed = with_hops(config, str(second.listeners[0]))
            server.change_service(replace(server.service, config=changed, logins=Logins(())))
            await trio.sleep(1)
            assert (first.admission.taken, second.admission.taken) == (0, 1), "the demand is that of before"
            await echo_once(server, destination)
            assert (first.admission.taken, second.admission.taken) == (0, 1)
            server.change_service(replace(server.service, config=config_of(), logins=Logins(())))
            await trio.sleep(1)
            assert (first.admission.taken, second.admission.taken) == (0, 0)


async def test_a_session_of_the_configuration_before_dials(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with echoing() as destination, open_server(config_of()) as hop:
        config = with_hops(config_of(), str(hop.listeners[0]))
        async with open_server(config) as server:
            await echo_once(server, destination)
            async with connect(str(server.listeners[0])) as client:
                await greet(client)
                server.change_service(replace(server.service, config=config_of(), logins=Logins(())))
                await trio.sleep(1)
                request = bytes.fromhex("05 01 00 01") + destination.packed + destination.port.to_bytes(2, "big")
                await client.send(request)
                assert (await read_exactly(client, 10))[1] == 0
                assert hop.admission.taken == 1


@pytest.mark.usefixtures("_each_network")
async def test_a_server_that_stops_closes_them_at_once(sockets_on_mock_clock: MockClock) -> None:
    before = descriptors()
    async with echoing() as destination, open_server(config_of()) as hop:
        config = with_hops(config_of(), str(hop.listeners[0]), warm=2)
        async with serving(config) as server:
            async with connect(server.address) as client:
                await open_session(client, destination)
                await trio.sleep(1)
                assert hop.admission.taken == 2
                server.stopping.set()
                await trio.sleep(1)
                assert hop.admission.taken == 1  # the session goes on, the way that it does not need is closed
                await client.send(b"hello")
                assert await read_exactly(client, 5) == b"hello"
            await server.ended.wait()
    assert descriptors() == before


# --- no byte of one session reaches another one


@dataclass
class Rude:
    """A SOCKS5 hop that ends connections at random times, in random ways."""

    rng: random.Random
    did: Counter[str] = field(default_factory=Counter)

    async def serve(self, client: trio.SocketStream) -> None:
        try:
            await self._serve(client)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(client)

    async def _serve(self, client: trio.SocketStream) -> None:
        rng = self.rng
        if not await client.receive_some(3):
            return None
        await client.send_all(b"\x05\x00")
        with trio.move_on_after(rng.uniform(0, 0.1)) as impatient:
            request = await client.receive_some(10)
        if impatient.cancelled_caught:
            return await self._end(client, "before the request")
        if not request:
            return None
        if rng.random() < 0.3:
            return await self._end(client, "at the request")
        async with await trio.open_tcp_stream(LOOPBACK, int.from_bytes(request[8:10], "big")) as upstream:
            await client.send_all(b"\x05\x00\x00\x01\0\0\0\0\0\0")
            async with trio.open_nursery() as nursery:
                for source, sink in ((client, upstream), (upstream, client)):
                    nursery.start_soon(self._copy, source, sink)
        return None

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _end(self, client: trio.SocketStream, when: str) -> None:
        how = self.rng.choice(["end", "reset", "word"])
        self.did[f"{how} {when}"] += 1
        if how == "word":
            await client.send_all(b"\x05\x01\x00\x01\0\0\0\0\0\0")
        elif how == "reset":
            client.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@dataclass
class Witness:
    """A destination that sends back what it gets, and remembers which sessions were on each connection."""

    seen: list[set[bytes]] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        marks: set[bytes] = set()
        self.seen.append(marks)
        rest = b""
        try:
            async for data in stream:
                await stream.send_all(data)
                *marked, rest = (rest + data).split(b"|")
                marks |= set(marked)
        except trio.BrokenResourceError:
            pass


@asynccontextmanager
async def listening(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host=LOOPBACK))
        yield f"{LOOPBACK}:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def one_client(server: Server, destination: Address, number: int, rng: random.Random) -> str:
    """Send a mark that no other session has, again and again; get nothing else back."""
    mark = b"%06d|" % number
    client: SocketStream = connect(str(server.listeners[0]))
    async with client:
        try:
            await open_session(client, destination)
        except AssertionError:
            return "refused"
        data = mark * rng.randrange(1, 3000)
        received = b""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, data)
                while len(received) < len(data):
                    received += await client.receive()
        except* (BrokenResourceError, EndOfStream):
            pass
        assert data.startswith(received), f"session {number} has got {received.strip(mark)[:20]!r}"
        return "served" if received == data else "cut"


@pytest.mark.usefixtures("_each_network")
async def test_no_byte_of_another_session(log: Log) -> None:
    """Hundreds of sessions, over a hop that ends ways whenever it likes: before, at and behind their requests."""
    log.set_level(logging.INFO, "chainsocks")
    rng = random.Random(0)
    rude, witness = Rude(rng), Witness()
    ends = Counter[str]()
    async with listening(witness.serve) as at, listening(rude.serve) as hop:
        config = replace(with_hops(config_of(), hop, warm=8), health=HealthSettings(rest=0.01, longest_rest=0.01))
        async with open_server(config) as server:
            numbers = iter(range(600))

            async def some_clients() -> None:
                for number in numbers:
                    ends[await one_client(server, parse_address(at), number, rng)] += 1
                    await trio.sleep(rng.uniform(0, 0.01))

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(some_clients)
    assert ends["served"] > 300
    assert sessions_of(log).count("warm=1") > 20  # some 300 on a machine that has nothing else to do
    assert all(len(marks) <= 1 for marks in witness.seen)
    assert len(rude.did) == 6
