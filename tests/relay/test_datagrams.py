"""The relay of datagrams by itself: who the client is, what is counted, and when it is over."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.datagrams import Drop
from chainsocks.observe.record import Traffic
from chainsocks.observe.tally import Drops, Tally
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import encode_header
from chainsocks.relay.datagrams import DatagramRelay, Deliver, Ready
from chainsocks.relay.relay import Outcome
from tests.memory import MemoryNetwork, MemorySocket, MemoryStream, memory_stream_pair

HOST, HEADER = "192.0.2.1", encode_header(Address("198.51.100.53", 53))


class Recorder:
    """A path that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int]] = []
        self.over = trio.Event()
        self.deliver: Deliver

    def send(self, datagram: bytes, header: int) -> None:
        self.sent.append((datagram, header))

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        self.deliver = deliver
        ready()
        await self.over.wait()
        return "the path broke"


@dataclass
class Association:
    control: MemoryStream
    network: MemoryNetwork
    socket: MemorySocket
    relay: DatagramRelay
    path: Recorder
    tally: Tally
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def client(self, host: str = HOST, port: int = 5353) -> MemorySocket:
        return MemorySocket(self.network, host, port)

    def say(self, client: MemorySocket, data: bytes = HEADER + b"hello") -> None:
        client.send(data, self.socket.place)


@asynccontextmanager
async def associated(nursery: trio.Nursery, *, port: int = 0, idle: float = math.inf) -> AsyncIterator[Association]:
    near, far = memory_stream_pair()
    network, path, tally = MemoryNetwork(nursery), Recorder(), Tally(Traffic())
    socket = network.open_udp("192.0.2.100")
    relay = DatagramRelay(far, socket, path, tally, host=HOST, port=port, idle=idle)
    association = Association(near, network, socket, relay, path, tally)

    async def run() -> None:
        with association.scope:
            await relay.run(association.scope)

    async with trio.open_nursery() as running:
        running.start_soon(run)
        await wait_all_tasks_blocked()
        yield association
        await near.aclose()


async def test_the_first_datagram_says_which_port_is_the_clients(nursery: trio.Nursery) -> None:
    async with associated(nursery) as association:
        association.say(association.client("192.0.2.2"))
        association.say(client := association.client())
        association.say(association.client(port=5454))
        association.path.deliver(HEADER + b"answer", 6)
        assert client.waiting == [(HEADER + b"answer", association.socket.place)]
    assert association.path.sent == [(HEADER + b"hello", len(HEADER))]
    assert (association.tally.drops[Drop.STRANGER], association.tally.traffic.down) == (2, 6)
    assert association.relay.outcome == "finished; dropped: 2 from strangers"


async def test_a_declared_port_is_the_only_one(nursery: trio.Nursery) -> None:
    async with associated(nursery, port=5454) as association:
        association.say(association.client())
        association.say(association.client(port=5454))
    assert len(association.path.sent) == 1
    assert association.tally.drops[Drop.STRANGER] == 1


@pytest.mark.parametrize("reserved", [b"\0\x01", b"\x01\0", b"\xff\xff"])
async def test_the_reserved_bytes_of_a_client_are_ignored_and_not_passed_on(
    nursery: trio.Nursery, reserved: bytes
) -> None:
    async with associated(nursery) as association:
        association.say(association.client(), reserved + HEADER[2:] + b"hello")
    assert association.path.sent == [(HEADER + b"hello", len(HEADER))]
    assert not association.tally.drops


async def test_nothing_is_delivered_to_a_client_that_is_not_known(nursery: trio.Nursery) -> None:
    async with associated(nursery) as association:
        association.path.deliver(HEADER + b"answer", 6)
    assert association.network.datagrams == []
    assert association.relay.outcome == "finished; dropped: 1 not taken by the network"


async def test_it_ends_with_its_path(nursery: trio.Nursery) -> None:
    async with associated(nursery) as association:
        association.path.over.set()
        await wait_all_tasks_blocked()
        assert association.relay.outcome == "the path broke"


async def test_it_ends_with_its_connection_whatever_was_said_there(nursery: trio.Nursery) -> None:
    async with associated(nursery) as association:
        await association.control.send(b"x" * 200_000)
        association.control.reset()
        await wait_all_tasks_blocked()
    assert association.relay.outcome == Outcome.CLIENT_BROKEN


async def test_a_client_that_gets_no_replies_is_not_idle(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """One-way senders, such as syslog."""
    async with associated(nursery, idle=80) as association:
        client = association.client()
        while trio.current_time() < 300:
            association.say(client)
            await trio.sleep(70)
            assert not association.scope.cancelled_caught
    assert len(association.path.sent) == 5
    assert association.relay.outcome == Outcome.FINISHED


async def test_replies_restart_the_idle_timer(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with associated(nursery, idle=80) as association:
        association.say(association.client())
        while trio.current_time() < 300:
            await trio.sleep(70)
            association.path.deliver(HEADER, 0)
            assert not association.scope.cancelled_caught


async def test_datagrams_of_strangers_do_not_restart_it(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with associated(nursery, idle=80) as association:
        stranger = association.client("192.0.2.66")
        association.say(association.client())
        while not association.scope.cancelled_caught:
            association.say(stranger)
            await trio.sleep(1)
        assert 80 <= trio.current_time() <= 91
        assert association.relay.outcome.startswith("idle for too long; dropped: ")


def test_drops_in_words() -> None:
    assert str(Drops()) == ""
    assert str(Drops({reason: number for number, reason in enumerate(Drop, 1)})) == (
        "1 from strangers, 2 in fragments, 3 malformed, 4 to names without an address, 5 too many at once, "
        "6 not taken by the network, 7 not allowed to go there, 8 over the bandwidth"
    )


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=40) | st.binary(max_size=30).map(HEADER.__add__)))
def test_every_datagram_is_passed_on_or_counted(datagrams: list[bytes]) -> None:
    async def go() -> None:
        async with trio.open_nursery() as nursery, associated(nursery) as association:
            client = association.client()
            for datagram in datagrams:
                association.say(client, datagram)
            drops = association.tally.drops
            assert len(association.path.sent) + drops[Drop.FRAGMENT] + drops[Drop.MALFORMED] == len(datagrams)

    trio.run(go)
