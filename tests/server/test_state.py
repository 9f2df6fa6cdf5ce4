"""What a worker answers: its sessions in each phase, on both of their ways, its hops, and how it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
from anyio import BrokenResourceError
from trio.testing import MockClock

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config, Timeouts
from chainsocks.control.messages import HopState, Place, Request, ServerState, Session, What
from chainsocks.errors import Problem
from chainsocks.net.stream import SocketStream
from chainsocks.observe.live import KILLED, LiveSessions
from chainsocks.observe.phase import Phase
from chainsocks.protocol.address import Address
from chainsocks.server.lag import LagMeter
from chainsocks.server.reload import Outcome
from chainsocks.server.server import Server, open_server
from chainsocks.server.state import SLICE, OneWorker
from tests.net.sockets import LOOPBACK, read_exactly
from tests.server.serving import GREETING, config_of, connect, echoing, greet, open_session

ways = pytest.mark.usefixtures("each_session_way")


@dataclass
class FakeSteering:
    """Notes what it is told."""

    is_draining: bool = False
    delays: list[float] = field(default_factory=list)

    async def reload(self) -> Outcome:
        return Outcome("c.toml", (Problem("server", "is odd"),), ("mind it",))

    def drain(self, delay: float) -> float:
        self.delays.append(delay)
        return delay / 2


@asynccontextmanager
async def working(config: Config, steering: FakeSteering | None = None) -> AsyncIterator[tuple[Server, OneWorker]]:
    async with open_server(config, live=LiveSessions()) as server:
        yield server, OneWorker(server, steering or FakeSteering(), LagMeter())


async def rows(worker: OneWorker) -> list[Session]:
    found: list[Session] = []

    async def take(some: Sequence[Session]) -> None:
        assert len(some) <= SLICE
        found.extend(some)

    await worker.sessions(take)
    return found


def about(value: float, tolerance: float = 0.1) -> Any:
    return pytest.approx(value, abs=tolerance)


def client_of(server: Server) -> SocketStream:
    return connect(str(server.listeners[0]))


@ways
async def test_a_session_that_relays(sockets_on_mock_clock: MockClock) -> None:
    config = replace(config_of(), timeouts=Timeouts(idle=60))
    async with echoing() as destination, working(config) as (server, worker), client_of(server) as client:
        await open_session(client, destination)
        await client.send(b"hello")
        await read_exactly(client, 5)
        await trio.sleep(2)
        [row] = await rows(worker)
        host, port = client.socket.getsockname()
        assert (row.client, row.user, row.command) == (f"{host}:{port}", None, "CONNECT")
        assert (row.destination, row.chain, row.hops) == (str(destination), "direct", ())
        assert (row.up, row.down, row.age) == (5, 5, about(2))
        assert row.place == Place(Phase.RELAY, left=row.place.left)
        assert row.place.left == about(60, 10)  # an idle timer is moved coarsely


@ways
async def test_a_session_without_a_request(sockets_on_mock_clock: MockClock) -> None:
    config = replace(config_of(), timeouts=Timeouts(handshake=10))
    async with working(config) as (server, worker), client_of(server) as client:
        await greet(client)
        await trio.sleep(4)
        [row] = await rows(worker)
        assert (row.command, row.destination, row.chain, row.hops) == (None, None, None, None)
        assert row.place == Place(Phase.REQUEST, left=about(6))


@asynccontextmanager
async def silent_hop(name: str = "osaka") -> AsyncIterator[Hop]:
    """A hop that accepts connections and says nothing."""
    [listener] = await trio.open_tcp_listeners(0, host=LOOPBACK)
    async with listener:
        yield Hop(name, HopProtocol.SOCKS5, Address(LOOPBACK, listener.socket.getsockname()[1]))


async def ask_for(client: SocketStream, host: bytes = b"example.org") -> None:
    await greet(client)
    await client.send(b"\x05\x01\x00\x03" + bytes((len(host),)) + host + b"\x01\xbb")


async def until_dialled(worker: OneWorker) -> Session:
    while True:
        [row] = await rows(worker)
        if row.place.step == "method negotiation":
            return row
        await trio.sleep(0.01)


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_session_that_is_dialled(sockets_on_mock_clock: MockClock, *, grouped: bool) -> None:
    async with silent_hop() as hop:
        chain = Chain(Group(hop, name="exits") if grouped else hop, name="default")
        config = replace(config_of(), chains={"default": chain}, timeouts=Timeouts(hop=20, dial=30))
        async with working(config) as (server, worker), client_of(server) as client:
            await ask_for(client)
            row = await until_dialled(worker)
            assert (row.destination, row.chain, row.hops) == ("example.org:443", "default", ("osaka",))
            left = about(20, 0.5)
            assert row.place == Place(Phase.DIAL, "osaka", 1, "method negotiation", left)
            [known] = await worker.hops()
            assert known.sessions == 1
            assert await worker.kill(Request(what=What.KILL, chain="default")) == 1
            with pytest.raises(BrokenResourceError):
                await read_exactly(client, 1)
            assert await rows(worker) == []


@ways
@pytest.mark.parametrize("relays", [False, True])
async def test_a_killed_session_is_reset_and_says_so(
    sockets_on_mock_clock: MockClock, log: pytest.LogCaptureFixture, *, relays: bool
) -> None:
    async with (
        echoing() as destination,
        working(config_of()) as (server, worker),
        client_of(server) as client,
        client_of(server) as other,
    ):
        await greet(other)
        if relays:
            await open_session(client, destination)
        else:
            await greet(client)
        wanted = [row for row in await rows(worker) if row.client.endswith(f":{client.socket.getsockname()[1]}")]
        assert await worker.kill(Request(what=What.KILL, session="0")) == 0
        assert await worker.kill(Request(what=What.KILL, session=wanted[0].id)) == 1
        with pytest.raises(BrokenResourceError):
            await read_exactly(client, 1)
        while len(await rows(worker)) > 1:
            await trio.lowlevel.checkpoint()
    lines = [record.getMessage() for record in log.records if f"id={wanted[0].id} " in record.getMessage()]
    assert lines[-1].endswith(f'outcome="{KILLED}"')


BIND, ASSOCIATE = bytes.fromhex("05 02 00 01 7f 00 00 01 00 00"), bytes.fromhex("05 03 00 01 00 00 00 00 00 00")


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        pytest.param(BIND, Place(Phase.DIAL, step="second reply", left=about(60)), id="bind"),
        pytest.param(ASSOCIATE, Place(Phase.RELAY, left=about(50, 50 / 8 + 0.1)), id="associate"),
    ],
)
async def test_other_requests_are_seen_and_ended(
    sockets_on_mock_clock: MockClock, log: pytest.LogCaptureFixture, request_: bytes, place: Place
) -> None:
    config = replace(config_of(), timeouts=Timeouts(bind=60, udp_idle=50))
    async with working(config) as (server, worker), client_of(server) as client:
        await greet(client)
        await client.send(request_)
        assert (await read_exactly(client, 10))[:2] == b"\5\0"
        [row] = await rows(worker)
        assert row.place == place
        assert await worker.kill(Request(what=What.KILL, chain="direct")) == 1
        with pytest.raises(BrokenResourceError):
            await read_exactly(client, 1)
    assert [line for line in log.messages if line.startswith("id=")][-1].endswith(f'outcome="{KILLED}"')


@ways
async def test_many_sessions_are_read_some_at_a_time(sockets_on_mock_clock: MockClock) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with working(config_of(max_sessions=300)) as (server, worker), AsyncExitStack() as stack:
        for _ in range(4 * SLICE + 1):
            client = await stack.enter_async_context(client_of(server))
            await greet(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            assert len(await rows(worker)) == 4 * SLICE + 1
            assert turns >= 3
            nursery.cancel_scope.cancel()


def two_hops() -> tuple[Hop, Hop]:
    return tuple(Hop(name, HopProtocol.SOCKS5, Address("10.0.0.1", port)) for name, port in (("a", 1), ("b", 2)))  # type: ignore[return-value]


async def test_hops(sockets_on_mock_clock: MockClock) -> None:
    first, second = two_hops()
    chain = Chain(Group(first, second, name="exits"), name="default")
    config = replace(config_of(), hops={"a": first, "b": second}, chains={"default": chain})
    async with working(config) as (server, worker):
        health = server.service.dialer.choices.health
        states = [(hop.name, hop.state, hop.chains) for hop in await worker.hops()]
        assert states == [("a", HopState.UNKNOWN, ("default",)), ("b", HopState.UNKNOWN, ("default",))]
        health.record_success([second], 0.25)
        health.record_failure(Suspect(first, FailedAt.CONNECT), "no answer")
        await trio.sleep(0.5)
        one, two = await worker.hops()
        assert (one.state, one.why, one.failures, one.workers_avoiding) == (HopState.BACKOFF, "no answer", 1, 1)
        assert (one.since, one.success) == (about(0.5), None)
        assert one.retry
        assert 0 < one.retry < 2.5
        assert (two.state, two.dial_time, two.success) == (HopState.WELL, 0.25, about(0.5))
        status = await worker.status()
        assert (status.hops, status.hops_well, status.trouble) == (2, 1, ("hop a is in backoff: no answer",))


async def test_a_hop_is_rested_and_woken(sockets_on_mock_clock: MockClock) -> None:
    first, second = two_hops()
    config = replace(config_of(), chains={"default": Chain(Group(first, second, name="exits"), name="default")})
    async with working(config) as (server, worker):
        health = server.service.dialer.choices.health
        assert await worker.rest("oslo") == 0
        assert await worker.rest("a") == 1
        health.record_success([first], 0.25)
        await trio.sleep(3)
        one, _ = await worker.hops()
        assert (one.state, one.since, one.retry) == (HopState.RESTED, about(3), None)
        assert health.in_backoff(first)
        assert await worker.wake("a") == 1
        assert not health.in_backoff(first)
        health.record_failure(Suspect(first, FailedAt.CONNECT), "no answer")
        assert await worker.wake("a") == 1
        assert not health.in_backoff(first)


async def test_the_status(sockets_on_mock_clock: MockClock) -> None:
    steering = FakeSteering()
    async with (
        echoing() as destination,
        working(config_of(max_sessions=1), steering) as (server, worker),
        client_of(server) as client,
    ):
        await open_session(client, destination)
        await trio.sleep(2)
        status = await worker.status()
        assert (status.state, status.listen, status.trouble) == (ServerState.RUNNING, (str(server.listeners[0]),), ())
        assert (status.sessions, status.max_sessions, status.uptime) == (1, 1, about(2))
        async with client_of(server) as waiting:
            await waiting.send(GREETING)
            while not (status := await worker.status()).waiting:
                await trio.lowlevel.checkpoint()
            assert status.trouble == ("connections wait for a session to end: 1",)
            steering.is_draining = True
            assert (await worker.status()).state is ServerState.DRAINING


async def test_reload_and_drain_are_passed_on(sockets_on_mock_clock: MockClock) -> None:
    steering = FakeSteering()
    async with working(config_of(grace=7), steering) as (_, worker):
        reloaded = await worker.reload()
        assert (reloaded.source, reloaded.problems, reloaded.warnings) == (
            "c.toml",
            ("c.toml: server: is odd",),
            ("mind it",),
        )
        draining = await worker.drain(2.5)
        assert (draining.delay, draining.grace, steering.delays) == (1.25, 7, [2.5])
