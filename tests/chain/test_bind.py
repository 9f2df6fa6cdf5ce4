"""BIND, over hops in memory and on the mock clock. The faults of hops have a whole table in tests/session."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest
import trio
from anyio import BrokenResourceError

from chainsocks.chain.bind import LISTEN, Binding
from chainsocks.chain.operations import Upstream
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.kinds import KINDS, HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    ConnectError,
    DialTimeout,
    HopProtocolError,
    HopRefused,
    RequestRefused,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from tests import dialing
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryListener, MemoryNetwork, MemoryStream

PEER = Address("192.0.2.80", 20)
PEER6 = Address("2001:db8::80", 20)
STRANGER = Address("192.0.2.66", 20)
ANYONE = Address("0.0.0.0", 0)
ANYONE6 = Address("::", 0)
OURS, OURS6 = "198.51.100.1", "2001:db8:1::1"


class Bound:
    """A BIND that has come to its first reply."""

    def __init__(self, network: MemoryNetwork, binding: Binding) -> None:
        self.network, self.binding, self.address = network, binding, binding.address

    async def accept(self) -> Upstream:
        return await dialing.accept(self.binding, self.network)


async def bind(
    network: MemoryNetwork,
    chain: Chain = DIRECT,
    peer: Address = PEER,
    timeouts: Timeouts | None = None,
    advertised: str | None = None,
) -> Bound:
    address = ip_address(advertised) if advertised else None
    return Bound(network, await dialing.bind(chain, peer, timeouts or Timeouts(), network, address))


async def hear(upstream: Upstream, peer: MemoryStream) -> None:
    """The peer and whoever waited for it are connected."""
    await peer.send(b"hello")
    assert upstream.trailing_data + await upstream.stream.receive() == b"hello"
    await upstream.stream.aclose()


# --- at a port of our own


@pytest.mark.parametrize(
    ("peer", "told"),
    [(PEER, OURS), (PEER6, OURS6), (ANYONE, OURS), (ANYONE6, OURS6), (Address("::ffff:192.0.2.80", 20), OURS)],
    ids=str,
)
async def test_the_port_is_where_the_route_to_the_peer_begins(peer: Address, told: str, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    bound = await bind(network, peer=peer)
    [listener] = network.listeners
    anyone = peer in (ANYONE, ANYONE6)
    assert listener.address.host == (peer.host if anyone else told)
    assert bound.address == Address(told, listener.address.port)
    comes_from = PEER6 if ":" in told else PEER
    far = network.call(listener.address, comes_from)
    upstream = await bound.accept()
    assert upstream.bound == comes_from
    assert listener.closed
    await hear(upstream, far)
    assert network.left_open == []


async def test_strangers_are_closed_and_the_wait_goes_on(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "chainsocks")
    network = MemoryNetwork(nursery)
    bound = await bind(network)
    strangers = []

    async def come() -> None:
        for _ in range(3):
            await trio.sleep(10)
            strangers.append(network.call(bound.address, STRANGER))
        await trio.sleep(10)
        strangers.append(network.call(bound.address, replace(PEER, port=4711)))  # any port of the peer's will do

    nursery.start_soon(come)
    upstream = await bound.accept()
    assert trio.current_time() == 40
    assert upstream.bound == replace(PEER, port=4711)
    for stranger in strangers[:3]:
        with pytest.raises(BrokenResourceError):
            await stranger.send(b"let me in")
    assert caplog.text.count("turned away a stranger, 192.0.2.66:20") == 3
    await hear(upstream, strangers[3])
    assert network.left_open == []


async def test_a_peer_may_be_named_and_has_any_of_its_addresses_then(nursery: trio.Nursery) -> None:
    for comes_from, network in (
        (PEER, MemoryNetwork(nursery, names={"ftp.example": ["2001:db8::80", "192.0.2.79", "192.0.2.80"]})),
        (PEER6, MemoryNetwork(nursery, names={"ftp.example": ["2001:db8::80"]})),
    ):
        bound = await bind(network, peer=Address("ftp.example", 20))
        assert bound.address.host == (OURS if comes_from is PEER else OURS6)  # IPv4 where there is a choice
        network.call(bound.address, STRANGER)
        far = network.call(bound.address, comes_from)
        upstream = await bound.accept()
        assert upstream.bound == comes_from
        await hear(upstream, far)


async def test_nobody_comes(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    bound = await bind(network, timeouts=Timeouts(bind=7, dial=5))  # the dial's limit is not the peer's
    with pytest.raises(DialTimeout, match=r"second reply: no peer connected \(7\.00 s of 7 s\)") as caught:
        await bound.accept()
    assert trio.current_time() == 7
    assert caught.value.reply_code == 0x06
    assert network.left_open == []


@pytest.mark.parametrize(
    ("advertised", "peer", "listens", "told"),
    [
        ("203.0.113.7", PEER, OURS, "203.0.113.7"),  # a NAT's: it is not ours to listen on
        ("203.0.113.7", ANYONE, "0.0.0.0", "203.0.113.7"),
        ("198.51.100.2", PEER, "198.51.100.2", "198.51.100.2"),  # another one of ours
        ("198.51.100.2", ANYONE, "198.51.100.2", "198.51.100.2"),
        ("203.0.113.7", PEER6, OURS6, OURS6),  # of no use to this peer
        ("2001:db8:2::1", PEER6, OURS6, "2001:db8:2::1"),
    ],
)
async def test_an_advertised_address(
    advertised: str, peer: Address, listens: str, told: str, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery, own=(OURS, OURS6, "198.51.100.2"))
    bound = await bind(network, peer=peer, advertised=advertised)
    assert (network.listeners[0].address.host, bound.address.host) == (listens, told)
    assert bound.address.port == network.listeners[0].address.port
    await bound.binding.aclose()


async def test_without_a_route(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, own=())
    with pytest.raises(ConnectError, match="network is unreachable") as caught:
        await bind(network)
    assert (caught.value.place.step, caught.value.reply_code) == (LISTEN, 0x03)
    bound = await bind(network, peer=ANYONE)
    assert bound.address.host == "0.0.0.0"
    await bound.binding.aclose()


async def test_when_listening_or_accepting_fails(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    network = MemoryNetwork(nursery)
    bound = await bind(network)
    errors = iter((errno.ECONNABORTED, errno.EMFILE))  # the first one gone before we looked, and that is all

    async def accept(self: MemoryListener) -> tuple[MemoryStream, Address]:
        await trio.lowlevel.checkpoint()
        number = next(errors)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(MemoryListener, "accept", accept)
    with pytest.raises(ConnectError, match="second reply: too many open files"):
        await bound.accept()
    assert network.left_open == []

    async def listen(self: MemoryNetwork, address: Address, egress: object = None) -> MemoryListener:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(MemoryNetwork, "listen", listen)
    with pytest.raises(ConnectError, match="TCP listen: permission denied"):
        await bind(network, advertised="203.0.113.7")


# --- through a chain


@pytest.mark.parametrize("protocol", [kind.protocol for kind in KINDS.values() if kind.has_bind])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_the_last_hop_binds_and_its_addresses_are_passed_on(
    count: int, protocol: HopProtocol, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery)
    hops = [make_hop(number, protocol) for number in range(1, count + 1)]
    for hop in hops:
        add_hop(network, hop)
    bound = await bind(network, Chain(*hops))
    assert bound.address.host == hops[-1].address.host
    assert [address for _, address in network.connects] == [hop.address for hop in hops]
    far = network.call(bound.address, PEER)
    upstream = await bound.accept()
    assert upstream.bound == PEER
    await hear(upstream, far)


async def test_a_hop_without_bind_is_asked_for_nothing(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    with pytest.raises(RequestRefused, match="hop osaka speaks http, and only socks4, socks4a and socks5 can BIND"):
        await bind(network, Chain(make_hop(1), make_hop(2, HopProtocol.HTTP)))
    assert network.connects == []


def scripted(*answers: bytes) -> Host:
    async def serve(stream: MemoryStream) -> None:
        for answer in answers:
            await stream.receive()
            await stream.send(answer)
        await trio.sleep_forever()

    return Host(serve)


FIRST, SECOND = bytes.fromhex("05 00 00 01 c6336407 9c41"), bytes.fromhex("05 00 00 01 c0000250 0014")


@pytest.mark.parametrize("glued", [FIRST + SECOND[:1], FIRST + SECOND, FIRST + SECOND + b"220 hello"], ids=len)
async def test_a_second_reply_may_be_glued_to_the_first(glued: bytes, nursery: trio.Nursery) -> None:
    async def serve(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(glued)
        await stream.send((FIRST + SECOND)[len(glued) :] + b"!")
        await trio.sleep_forever()

    hop = make_hop(1)
    network = MemoryNetwork(nursery, {hop.address: Host(serve)})
    bound = await bind(network, Chain(hop))
    assert bound.address == Address("198.51.100.7", 40001)
    upstream = await bound.accept()
    assert upstream.bound == PEER
    said = upstream.trailing_data
    while not said.endswith(b"!"):
        said += await upstream.stream.receive()
    assert said == glued[20:] + b"!"
    await upstream.stream.aclose()


ZEROS = bytes.fromhex("05 00 00 01 00000000 9c41")
ZEROS6 = bytes.fromhex("05 00 00 04") + bytes(16) + bytes.fromhex("9c41")
NAMED = bytes.fromhex("05 00 00 03 03") + b"a.b" + bytes.fromhex("9c41")


@pytest.mark.parametrize(
    ("reply", "hop_at", "told"),
    [
        (ZEROS, "10.0.0.1", "10.0.0.1"),
        (ZEROS6, "2001:db8::9", "2001:db8::9"),
        (ZEROS, "paris.example", "paris.example"),
        (NAMED, "10.0.0.1", "a.b"),
        (FIRST, "10.0.0.1", "198.51.100.7"),
    ],
)
async def test_zeros_are_the_hops_own_address(reply: bytes, hop_at: str, told: str, nursery: trio.Nursery) -> None:
    hop = replace(make_hop(1), address=Address(hop_at, 1080))
    reached = Address("10.0.0.1" if "paris" in hop_at else hop_at, 1080)
    network = MemoryNetwork(nursery, {reached: scripted(b"\x05\x00", reply)}, {"paris.example": ["10.0.0.1"]})
    bound = await bind(network, Chain(hop))
    assert bound.address == Address(told, 40001)
    await bound.binding.aclose()
    assert network.left_open == []


@pytest.mark.parametrize(
    ("answers", "kind", "code", "says"),
    [
        ([FIRST + bytes.fromhex("05 02 00 01 00000000 0000")], HopRefused, 2, "it granted the port, and then refused"),
        ([FIRST + b"HTTP/1.1"], HopProtocolError, 1, "second reply: the reply has version 72"),
        ([FIRST, b""], DialTimeout, 6, "second reply: no peer connected"),
    ],
    ids=["a refusal", "garbage", "silence"],
)
async def test_a_second_reply_that_is_none(
    answers: Sequence[bytes],
    kind: type[Exception],
    code: int,
    says: str,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    hop = make_hop(1)
    network = MemoryNetwork(nursery, {hop.address: scripted(b"\x05\x00", *answers)})
    bound = await bind(network, Chain(hop))
    with pytest.raises(kind, match=says) as caught:
        await bound.accept()
    assert getattr(caught.value, "reply_code", None) == code
    assert "hop paris (1 of 1)" in str(caught.value)
    assert network.left_open == []


async def test_what_a_hop_cannot_carry_is_refused_before_anything_is_opened(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    with pytest.raises(UnsupportedAddress):
        await bind(network, Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4)), PEER6)
    assert network.connects == []
    assert network.listeners == []


@pytest.mark.parametrize("count", [0, 1])
async def test_cancelling_the_wait_closes_what_was_opened(
    count: int, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery)
    hops = [make_hop(1)][:count]
    for hop in hops:
        add_hop(network, hop)
    bound = await bind(network, Chain(*hops))
    with trio.move_on_after(3) as scope:
        await bound.accept()
    assert scope.cancelled_caught
    assert network.left_open == []
    with pytest.raises(RuntimeError, match="accepted once"):
        await bound.accept()
    assert network.left_open == []
