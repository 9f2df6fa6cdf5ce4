"""Finding out what a hop keeps: hops in memory that lose things in their own ways, and those that cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from chainsocks.chain.pipeline_check import Finding, Support, check_pipelining
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Pipeline, Resolve
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.observe.record import Traffic
from chainsocks.protocol.address import Address
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Method, Reply
from chainsocks.protocol.socks5 import ServerHandshake as Socks5ServerHandshake
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Handler, Host, MemoryNetwork, MemoryStream, WatchedNetwork
from tests.relay.ways import relay

KEEPS, LOSES, UNKNOWN = Support
TIMEOUTS = Timeouts(hop=2, connect=3)


def lossy(network: MemoryNetwork, keep: Callable[[State], bool]) -> Handler:
    """A hop that keeps what came behind a message only where `keep` says so of the step that it was in."""

    async def serve(client: MemoryStream) -> None:
        unread = await client.receive()
        handshake = server_handshake(unread, (Method.USERNAME_PASSWORD,))
        while handshake.state is not State.REPLY:
            unread = unread or await client.receive()
            step = handshake.state
            while unread and handshake.state is step:
                handshake.receive_data(unread[:1])
                unread = unread[1:]
            if isinstance(handshake, Socks5ServerHandshake) and handshake.state is State.LOGIN:
                handshake.accept_login()
            if answer := handshake.data_to_send():
                await client.send(answer)
            if handshake.state is not step and not keep(step):
                unread = b""
        upstream = await network.open_tcp(handshake.request.destination)
        handshake.send_reply(Reply(0))
        await client.send(handshake.data_to_send())
        await upstream.send(unread or await client.receive())
        await client.send(await upstream.receive())

    return serve


async def find(network: MemoryNetwork, hop: Hop, before: Route | None = None, target: Address | None = None) -> Finding:
    watched = WatchedNetwork(network)
    found = await check_pipelining(hop, TIMEOUTS, watched, before=before, target=target)
    assert watched.left_open == []
    return found


@pytest.mark.parametrize("protocol", HopProtocol)
@pytest.mark.parametrize("before", [0, 1, 2])
async def test_an_honest_hop_keeps_everything(before: int, protocol: HopProtocol, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    hops = [make_hop(number) for number in range(1, before + 1)]
    hop = make_hop(before + 1, protocol)
    for one in (*hops, hop):
        add_hop(network, one)
    found = await find(network, hop, Chain(*hops, pipeline="chain").route)
    assert found == Finding(KEEPS, KEEPS)
    assert found.pipeline is Pipeline.CHAIN


@pytest.mark.parametrize(
    ("protocol", "keep", "own", "behind", "pipeline", "reason", "seconds"),
    [
        (HopProtocol.SOCKS5, set(), LOSES, UNKNOWN, Pipeline.OFF, "no complete answer", 2),
        (HopProtocol.SOCKS5, {State.METHOD_NEGOTIATION}, LOSES, UNKNOWN, Pipeline.OFF, "no complete answer", 2),
        (
            HopProtocol.SOCKS5,
            {State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION},
            KEEPS,
            LOSES,
            Pipeline.HOP,
            "what comes behind its request: no complete answer",
            2,
        ),
        (
            HopProtocol.SOCKS4A,
            set(),
            KEEPS,
            LOSES,
            Pipeline.HOP,
            "what comes behind its request: no complete answer",
            2,
        ),
        (HopProtocol.SOCKS5, set(State), KEEPS, KEEPS, Pipeline.CHAIN, "", 0),
    ],
)
async def test_what_is_lost_is_found_out_within_the_limit(
    protocol: HopProtocol,
    keep: set[State],
    own: Support,
    behind: Support,
    pipeline: Pipeline,
    reason: str,
    seconds: float,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    network = MemoryNetwork(nursery)
    hop, target = make_hop(1, protocol), make_hop(2)
    add_hop(network, target)
    network.hosts[hop.address] = Host(lossy(network, keep.__contains__))
    found = await find(network, hop, target=target.address)
    assert (found.own, found.behind, found.pipeline) == (own, behind, pipeline)
    assert reason in found.reason
    assert trio.current_time() == seconds


@pytest.mark.parametrize(
    ("step", "fault", "own", "reason"),
    [
        (CONNECT, Fault.REFUSAL, UNKNOWN, "TCP connect: connection refused"),
        (CONNECT, Fault.MUTE, UNKNOWN, "TCP connect: no answer"),
        (State.METHOD_NEGOTIATION, Fault.GARBAGE, UNKNOWN, "looks like an HTTP server's answer"),
        (State.SUB_NEGOTIATION, Fault.REFUSAL, UNKNOWN, "it refused our username and password"),
        (State.REQUEST, Fault.MUTE, UNKNOWN, "no complete answer"),
        (State.REQUEST, Fault.REFUSAL, KEEPS, "connection refused (05)"),
    ],
)
async def test_what_fails_in_order_says_nothing(
    step: str,
    fault: Fault,
    own: Support,
    reason: str,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    """But a refusal is an answer to the request, which had to be kept."""
    network = MemoryNetwork(nursery)
    add_hop(network, make_hop(1), Trouble(step, fault))
    found = await find(network, make_hop(1))
    assert (found.own, found.behind) == (own, UNKNOWN)
    assert "hop paris (1 of 1) at 10.0.0.1:1080" in found.reason
    assert reason in found.reason


async def test_a_hop_before_is_not_the_hop(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    add_hop(network, make_hop(1), Trouble(State.REQUEST, Fault.MUTE))
    found = await find(network, make_hop(2), Chain(make_hop(1)).route)
    assert (found.own, found.behind) == (UNKNOWN, UNKNOWN)
    assert "hop paris (1 of 2)" in found.reason


async def test_the_hops_before_are_not_pipelined_whatever_they_are_declared_to_be(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """One that loses its own messages when they come at once would never let us through."""
    network = MemoryNetwork(nursery)
    first, hop = replace(make_hop(1), pipeline=Pipeline.CHAIN), make_hop(2)
    add_hop(network, hop)
    add_hop(network, first)

    async def serve(client: MemoryStream) -> None:
        head = await client.receive()
        assert head[:2] == b"\x05\x02", "more than one method: not at once"
        await client.send(b"\x05\x00")
        await client.receive()
        upstream = await network.open_tcp(hop.address)
        await client.send(b"\x05\x00\x00\x01\0\0\0\0\0\0")
        await relay(client, upstream, Traffic(), idle=100, half_close=100)

    network.hosts[first.address] = Host(serve)
    assert await find(network, hop, Chain(first).route) == Finding(KEEPS, KEEPS)


async def test_a_target_that_is_no_socks_server(nursery: trio.Nursery) -> None:
    async def greet(stream: MemoryStream) -> None:
        await stream.send(b"SSH-2.0-banner\r\n")
        await trio.sleep_forever()

    target = Address("192.0.2.9", 22)
    network = MemoryNetwork(nursery, {target: Host(greet)})
    add_hop(network, make_hop(1))
    found = await find(network, make_hop(1), target=target)
    assert (found.own, found.behind) == (KEEPS, UNKNOWN)
    assert "192.0.2.9:22 answered, but it is no SOCKS5 server; name one that is" in found.reason


async def test_the_login_goes_to_the_hop_alone_and_in_order_first(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    hop, target = make_hop(1), make_hop(2)
    heard: list[bytes] = []
    add_hop(network, hop)

    async def listen(stream: MemoryStream) -> None:
        heard.append(await stream.receive())
        await stream.send(b"\x05\xff")

    network.hosts[target.address] = Host(listen)
    assert await find(network, hop, target=target.address) == Finding(KEEPS, KEEPS)
    assert heard == [b"\x05\x01\x00"] * 3


async def test_a_hop_that_takes_our_login_only_if_it_must(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """It picks none when offered both, and refuses a login alone: it loses nothing, and yet cannot be pipelined."""

    async def serve(stream: MemoryStream) -> None:
        greeting = await stream.receive()
        if 0 not in greeting[2 : 2 + greeting[1]]:
            await stream.send(b"\x05\xff")
            return
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(b"\x05\x00\x00\x01\0\0\0\0\0\0")
        await stream.receive()
        await stream.send(b"\x05\x00")

    hop = make_hop(1)
    found = await find(MemoryNetwork(nursery, {hop.address: Host(serve)}), hop)
    assert (found.own, found.behind) == (UNKNOWN, UNKNOWN)
    assert "it does not accept username/password, the only method that is offered when pipelining" in found.reason


async def test_an_address_that_the_hop_cannot_carry(nursery: trio.Nursery) -> None:
    hop = replace(make_hop(1, HopProtocol.SOCKS4), address=Address("2001:db8::1", 1080))
    found = await find(MemoryNetwork(nursery), hop)
    assert (found.own, found.behind) == (UNKNOWN, UNKNOWN)
    assert "hop paris (1 of 1) at [2001:db8::1]:1080, request: socks4 cannot carry" in found.reason


async def test_a_name_is_looked_up_here_where_the_hop_wants_that(nursery: trio.Nursery) -> None:
    hop, target = replace(make_hop(1, HopProtocol.SOCKS4), resolve=Resolve.LOCAL), make_hop(2)
    network = MemoryNetwork(nursery, names={"osaka.example": [target.address.host]})
    for one in (hop, target):
        add_hop(network, one)
    assert await find(network, hop, target=Address("osaka.example", target.address.port)) == Finding(KEEPS, KEEPS)
    assert {address for _, address in network.connects} == {hop.address, target.address}


async def test_a_login_by_gssapi_is_not_tried(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    found = await find(network, make_hop(1, login=Gssapi()))
    assert found == Finding(
        UNKNOWN, UNKNOWN, "a login by GSSAPI is a conversation, in which no message can be sent early"
    )
    assert found.pipeline is Pipeline.OFF
    assert network.connects == []
