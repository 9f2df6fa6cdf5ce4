"""`send_proxy`: what comes first on each connection to the first hop or to a direct destination, whatever it is for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import anyio
import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.associate import associate
from chainsocks.chain.attempts import Operation
from chainsocks.chain.bind import bind
from chainsocks.chain.operations import greet, open_connection
from chainsocks.chain.pipeline_check import Support, check_pipelining
from chainsocks.chain.resolve import resolve
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Pipeline
from chainsocks.config.groups import Group
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, ConnectError
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.messages import Command
from chainsocks.protocol.proxy_protocol import LOCAL, Ends, encode_header
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Handler, Host, MemoryNetwork, MemoryStream, WatchedNetwork

ResultT = TypeVar("ResultT")

DESTINATION = Address("192.0.2.80", 80)
HEADER = encode_header(Ends(Address("192.0.2.7", 51234), Address("198.51.100.9", 1080)))
HOPS = tuple(replace(make_hop(position), tor=position == 2) for position in (1, 2, 3))
TIMEOUTS = Timeouts(connect=4, hop=2, dial=9)


@dataclass
class World:
    """Hops and a destination; those that we connect to ourselves expect a header, and remember it."""

    nursery: trio.Nursery
    headers: dict[Address, list[bytes]] = field(default_factory=dict)
    world: MemoryNetwork = field(init=False)
    network: WatchedNetwork = field(init=False)

    def __post_init__(self) -> None:
        world = self.world = MemoryNetwork(self.nursery)
        for hop in HOPS:
            add_hop(world, hop)
        world.hosts[DESTINATION] = Host(self._end)
        self.network = WatchedNetwork(world)
        self.network.hosts = {address: Host(self._expect(address, host)) for address, host in world.hosts.items()}

    def _expect(self, address: Address, host: Host) -> Handler:
        async def serve(stream: MemoryStream) -> None:
            start = await stream.receive(16)
            self.headers[address] = [*self.headers.get(address, []), start + await stream.receive(start[15] or 0)]
            assert host.handler
            await host.handler(stream)

        return serve

    @staticmethod
    async def _end(stream: MemoryStream) -> None:
        await stream.send(b"here")

    async def run(
        self,
        chain: Chain,
        operation: Operation[ResultT],
        destination: Address = DESTINATION,
        header: bytes = HEADER,
    ) -> ResultT:
        _, result = await dialer_of(self.network, TIMEOUTS).run(chain, operation, destination, proxy_header=header)
        return result


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """All that streams are given to send, and which ones."""
    found: list[tuple[str, bytes]] = []
    send = MemoryStream.send

    async def note(stream: MemoryStream, item: bytes) -> None:
        found.append((stream.label, item))
        await send(stream, item)

    monkeypatch.setattr(MemoryStream, "send", note)
    return found


@pytest.fixture
def world(nursery: trio.Nursery, autojump_clock: MockClock) -> World:
    return World(nursery)


@pytest.mark.parametrize("pipeline", Pipeline)
@pytest.mark.parametrize("length", [0, 1, 2, 3])
async def test_a_connection_begins_with_one_header(
    world: World, writes: list[tuple[str, bytes]], length: int, pipeline: Pipeline
) -> None:
    """In one write with the greeting, where there is one."""
    upstream = await world.run(Chain(*HOPS[:length], send_proxy=True, pipeline=pipeline), open_connection)
    assert (upstream.trailing_data or await upstream.stream.receive()) == b"here"
    await upstream.stream.aclose()
    first = HOPS[0].address if length else DESTINATION
    assert world.headers == {first: [HEADER]}
    written = next(data for label, data in writes if label == f"{first} near")
    assert written.startswith(HEADER)
    assert (len(written) > len(HEADER)) == bool(length)


async def test_without_the_key_there_is_none(world: World) -> None:
    world.network.hosts[DESTINATION] = Host(World._end)
    upstream = await world.run(Chain(), open_connection)
    assert await upstream.stream.receive() == b"here"
    await upstream.stream.aclose()
    assert world.headers == {}


async def test_each_connection_of_an_association_begins_with_one(world: World) -> None:
    association = await world.run(Chain(*HOPS, send_proxy=True), associate, UNSPECIFIED)
    for stream in association.streams.values():
        await anyio.aclose_forcefully(stream)
    assert world.headers == {HOPS[0].address: [HEADER] * 3}


@pytest.mark.parametrize("length", [1, 2])
async def test_a_port_at_a_hop(world: World, length: int) -> None:
    binding = await world.run(Chain(*HOPS[:length], send_proxy=True), bind)
    await binding.aclose()
    assert world.headers == {HOPS[0].address: [HEADER]}


async def test_a_look_up_by_a_hop(world: World) -> None:
    chain = Chain(*HOPS[:2], send_proxy=True)
    await world.run(chain, partial(resolve, command=Command.RESOLVE), Address("example.org", 0))
    assert world.headers == {HOPS[0].address: [HEADER]}


@pytest.mark.parametrize("length", [1, 2, 3])
async def test_a_greeting_tells_of_no_client(world: World, length: int) -> None:
    """As a health check and `chainsocks probe` send it."""
    chain = Chain(*HOPS[:length], send_proxy=True)
    await dialer_of(world.network, TIMEOUTS).run(chain, greet, UNSPECIFIED)
    assert world.headers == {HOPS[0].address: [LOCAL]}


async def test_every_member_that_is_tried_gets_one(world: World) -> None:
    add_hop(world.world, HOPS[0], Trouble("method negotiation", Fault.FIN))
    world.network.hosts[HOPS[0].address] = Host(world._expect(HOPS[0].address, world.world.hosts[HOPS[0].address]))
    upstream = await world.run(Chain(Group(HOPS[0], HOPS[2]), HOPS[1], send_proxy=True), open_connection)
    await upstream.stream.aclose()
    assert world.headers == {HOPS[0].address: [HEADER], HOPS[2].address: [HEADER]}


async def test_a_destination_that_resets_the_connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(stream: MemoryStream, item: bytes) -> None:
        raise anyio.BrokenResourceError

    monkeypatch.setattr(MemoryStream, "send", fail)
    with pytest.raises(ConnectError, match="reset before its PROXY protocol header") as caught:
        await world.run(Chain(send_proxy=True), open_connection)
    assert (caught.value.cause, caught.value.at_destination) == (Cause.RESET, True)
    assert world.network.left_open == []


async def test_a_test_of_pipelining(world: World) -> None:
    chain = Chain(HOPS[0], send_proxy=True)
    found = await check_pipelining(HOPS[0], TIMEOUTS, world.network, before=Route(chain, ()))
    assert found.own is Support.SUPPORTED
    assert set(world.headers[HOPS[0].address]) == {LOCAL}
