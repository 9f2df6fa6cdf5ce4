"""What the server gives the dial: connects, lookups, scopes and the time, all of trio's."""

from __future__ import annotations

import pytest
import trio

from chainsocks.net.outgoing import Outgoing
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import open_poller
from chainsocks.protocol.address import Address, address_of
from chainsocks.server.deadlines import Deadlines, open_deadlines
from chainsocks.server.network import TrioNetwork
from tests.server.serving import echoing


@pytest.mark.parametrize("polled", ["with a poller", "without"])
async def test_a_connect_gives_a_stream_that_waits_as_it_should(polled: str) -> None:
    async with echoing() as destination, open_poller() as poller:
        network = TrioNetwork(poller if polled == "with a poller" else None, Deadlines())
        stream = await network.open_tcp(destination)
        assert isinstance(stream, PolledStream) == (polled == "with a poller")
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        await stream.aclose()


@pytest.mark.parametrize("polled", ["with a poller", "without"])
async def test_a_port_gives_streams_that_wait_as_they_should(polled: str) -> None:
    async with open_poller() as poller:
        network = TrioNetwork(poller if polled == "with a poller" else None, Deadlines())
        listener = await network.listen(network.local_address(Address("127.0.0.1", 80)))
        caller = await network.open_tcp(listener.address)
        stream, _ = await listener.accept()
        assert isinstance(stream, PolledStream) == (polled == "with a poller")
        for opened in (stream, caller, listener):
            await opened.aclose()


async def test_names_are_looked_up() -> None:
    assert Address("127.0.0.1", 80) in await TrioNetwork(None, Deadlines()).resolve(Address("localhost", 80))


async def test_addresses_are_looked_up() -> None:
    assert await TrioNetwork(None, Deadlines()).name_of(Address("127.0.0.1", 80))


async def test_scopes_and_time_are_trios(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deadlines() as deadlines:
        network = TrioNetwork(None, deadlines)
        with network.open_scope(network.now() + 5) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        assert network.now() == 5


async def test_what_it_opens_is_noted_where_that_is_wanted() -> None:
    network = TrioNetwork(None, Deadlines())
    for outgoing in (None, Outgoing()):
        network.outgoing = outgoing
        async with echoing() as destination:
            stream = await network.open_tcp(destination)
            source = address_of(stream.socket.getsockname())
            await stream.aclose()
        udp = network.open_udp("127.0.0.1")
        if outgoing:
            assert outgoing.has(source, destination)
            assert outgoing.has_udp(udp.address.port)
        udp.close()
        assert not (outgoing and outgoing.has_udp(udp.address.port))
