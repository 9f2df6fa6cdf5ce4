"""Requests on ways that are ready: every command, every protocol, every login."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import anyio
import pytest
import trio
from anyio.abc import ByteStream
from trio.testing import MockClock

from chainsocks.chain.associate import associate
from chainsocks.chain.bind import bind
from chainsocks.chain.blame import judge
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import open_connection
from chainsocks.chain.readiness import make_ready
from chainsocks.chain.resolve import resolve
from chainsocks.chain.trip import Trip
from chainsocks.config.chains import DIRECT, Chain, Route
from chainsocks.config.choices import Pipeline, Resolve
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.errors import DialTimeout, UnsupportedAddress
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.messages import Command, UsernamePassword
from tests.hops import ANSWERS, add_hop, make_hop, way_of
from tests.mechanism import FakeMechanism
from tests.memory import MemoryStream
from tests.warm import DESTINATION, TIMEOUTS, Party, warming

PARIS, OSAKA, LIMA = (make_hop(position) for position in (1, 2, 3))
HOPS = {
    "a login": LIMA,
    "no login": replace(LIMA, credentials=None),
    "socks4": make_hop(3, HopProtocol.SOCKS4),
    "socks4a": make_hop(3, HopProtocol.SOCKS4A),
    "a timeout of its own": replace(LIMA, timeout=0.5),
    "pipelined": replace(LIMA, pipeline=Pipeline.CHAIN),
}


async def ready(party: Party, chain: Chain) -> None:
    """Make a first request, and wait until a way is ready for the second."""
    for hop in way_of(chain).hops:
        add_hop(party.world, hop)
    assert not await party.request(chain)
    await party.rest()


@pytest.mark.parametrize("before", [(), (PARIS,), (PARIS, OSAKA)], ids=len)
@pytest.mark.parametrize("last", HOPS.values(), ids=HOPS)
async def test_a_connection_through_hops_of_every_kind(
    before: tuple[Hop, ...], last: Hop, autojump_clock: MockClock
) -> None:
    chain = Chain(*before, last, warm=1)
    async with warming(chain) as party:
        await ready(party, chain)
        for _ in range(3):
            assert await party.request(chain)
            await party.rest()


@pytest.mark.parametrize("protection", [Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY])
async def test_a_login_by_gssapi(
    protection: Protection, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeMechanism().install(monkeypatch)
    chain = Chain(PARIS, make_hop(2, login=Gssapi(protection)), warm=1)
    async with warming(chain) as party:
        await ready(party, chain)
        assert await party.request(chain)


@pytest.mark.parametrize("pipeline", Pipeline)
async def test_ways_are_opened_with_pipelining(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    chain = Chain(PARIS, OSAKA, LIMA, pipeline=pipeline, warm=1)
    async with warming(chain) as party:
        await ready(party, chain)
        assert await party.request(chain)


async def test_bind(autojump_clock: MockClock) -> None:
    chain = Chain(PARIS, OSAKA, warm=1)
    async with warming(chain) as party:
        await ready(party, chain)
        trip, binding = await party.dialer.run(chain, bind, DESTINATION)
        assert trip.is_warm
        [port] = [port for port in party.world.ports if port.host == OSAKA.address.host]
        peer = party.world.call(port, DESTINATION)
        with Limit(party.network) as limit:
            upstream = await binding.accept(limit)
        await peer.send(b"hello")
        assert upstream.trailing_data + await upstream.stream.receive() == b"hello"
        await anyio.aclose_forcefully(upstream.stream)


async def test_associations(autojump_clock: MockClock) -> None:
    chain = Chain(PARIS, OSAKA, warm=1)
    async with warming(chain) as party:
        await ready(party, chain)
        before = len(party.connects(PARIS)), len(party.connects(OSAKA))
        trip, association = await party.dialer.run(chain, associate)
        assert trip.is_warm
        assert [relay.host for relay in association.relays] == [PARIS.address.host, OSAKA.address.host]
        for stream in association.streams.values():
            await anyio.aclose_forcefully(stream)
        await party.rest()
        # The association at paris, and the next warm way.
        assert (len(party.connects(PARIS)), len(party.connects(OSAKA))) == (before[0] + 2, before[1] + 1)


async def test_a_look_up_by_the_last_hop(autojump_clock: MockClock) -> None:
    chain = Chain(PARIS, replace(OSAKA, tor=True), warm=1)
    async with warming(chain) as party:
        await ready(party, chain)
        operation = partial(resolve, command=Command.RESOLVE)
        trip, answer = await party.dialer.run(chain, operation, Address("example.org", 0))
        assert (trip.is_warm, answer) == (True, ANSWERS[Command.RESOLVE])


async def test_a_name_that_is_resolved_here(autojump_clock: MockClock) -> None:
    chain = Chain(replace(LIMA, resolve=Resolve.LOCAL), warm=1)
    async with warming(chain) as party:
        party.world.names["eighty.example"] = [DESTINATION.host]
        await ready(party, chain)
        assert await party.request(chain, Address("eighty.example", DESTINATION.port))


async def test_a_hop_is_not_suspected_of_losing_what_was_sent_in_its_turn(autojump_clock: MockClock) -> None:
    last = HOPS["socks4"]
    chain = Chain(PARIS, last, pipeline=Pipeline.CHAIN)
    async with warming() as party:
        near, _ = party.network.pair("warm, and silent")

        async def take(route: Route) -> ByteStream:
            return near

        trip = party.dialer.trip(way_of(chain), DESTINATION, warm=take)
        with pytest.raises(DialTimeout) as caught:
            await trip.run(open_connection)
        assert [suspect.hop for suspect in judge(caught.value, trip.leg).suspects] == [last]


async def test_what_the_last_hop_cannot_carry_takes_no_way(autojump_clock: MockClock) -> None:
    chain = Chain(HOPS["socks4"], warm=1)
    async with warming(chain) as party:
        await ready(party, chain)
        with pytest.raises(UnsupportedAddress):
            await party.request(chain, Address("2001:db8::1", 80))
        assert await party.request(chain)


async def test_the_direct_way_has_none(nursery: trio.Nursery) -> None:
    async with warming() as party:
        with pytest.raises(ValueError, match="no hop to greet"):
            await Trip(way_of(DIRECT), UNSPECIFIED, TIMEOUTS, party.network).run(make_ready)
        assert not await party.request(DIRECT)


async def test_nothing_but_the_request_is_sent(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """No message of the greeting or the login again, and no byte of the client."""
    hop = replace(LIMA, credentials=UsernamePassword(b"bob", b"pw"))
    heard: list[bytes] = []
    chain = Chain(hop)

    async def serve(stream: MemoryStream) -> None:
        heard.append(await stream.receive())
        await stream.send(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await trio.sleep_forever()

    async with warming() as party:
        near, far = party.network.pair("warm")
        party.world.nursery.start_soon(party.world._serve, serve, far)

        async def take(route: Route) -> ByteStream:
            return near

        caplog.set_level(logging.DEBUG, "chainsocks")
        trip = party.dialer.trip(way_of(chain), DESTINATION, warm=take)
        upstream = await trip.run(open_connection)
        assert heard == [bytes.fromhex("05 01 00 01 c0000250 0050")]
        assert "pw" not in caplog.text
        await anyio.aclose_forcefully(upstream.stream)
