"""The direct way of datagrams: sockets as they are needed, and answers only from who was asked."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chainsocks.config.choices import UdpFilter
from chainsocks.datagrams import Drop
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import encode_header
from chainsocks.relay import direct
from chainsocks.relay.direct import DirectPath
from tests.memory import MemorySocket
from tests.relay.datagram_paths import Beyond, beyond

FOUR, SIX, NAMED = Address("192.0.2.53", 53), Address("2001:db8::53", 53), Address("far.example", 53)


def way_of(world: Beyond) -> DirectPath:
    return DirectPath(world.network.open_udp, world.network.resolve, 5, world.tally)


def send(way: DirectPath, to: Address, payload: bytes = b"hello") -> None:
    header = encode_header(to)
    way.send(header + payload, len(header))


async def test_sockets_are_opened_as_they_are_needed_and_closed_in_the_end(nursery: trio.Nursery) -> None:
    world = beyond(nursery)
    async with world.running(way := way_of(world)):
        assert len(world.network.sockets) == 0
        for _ in range(3):
            send(way, FOUR)
        assert len(world.network.sockets) == 1
        send(way, SIX)
        assert len(world.network.sockets) == 2
    assert world.network.sockets == {}
    assert world.sent == [((FOUR.host, 53), b"hello")] * 3 + [((SIX.host, 53), b"hello")]
    assert world.tally.traffic.up == 20


@pytest.mark.parametrize("written", ["192.0.2.53", "::ffff:192.0.2.53"])
async def test_only_who_was_asked_may_answer(written: str, nursery: trio.Nursery) -> None:
    world = beyond(nursery)
    async with world.running(way := way_of(world)):
        send(way, Address(written, 53))
        [ours] = world.network.sockets
        await wait_all_tasks_blocked()
        for port in (53, 54):
            MemorySocket(world.network, FOUR.host, port).send(b"answer", ours)
    assert world.delivered == [(encode_header(FOUR) + b"answer", 6)]
    assert world.tally.drops[Drop.STRANGER] == 1


@pytest.mark.parametrize(
    ("filter_", "let_in"), [(UdpFilter.ADDRESS_AND_PORT, ""), (UdpFilter.ADDRESS, "b"), (UdpFilter.ANY, "bc")]
)
async def test_the_filter_lets_strangers_in(filter_: UdpFilter, let_in: str, nursery: trio.Nursery) -> None:
    world = beyond(nursery)
    way = DirectPath(world.network.open_udp, world.network.resolve, 5, world.tally, filter_=filter_)
    origins = {"a": FOUR, "b": Address(FOUR.host, 54), "c": Address("203.0.113.9", 53)}
    async with world.running(way):
        send(way, FOUR)
        [ours] = world.network.sockets
        await wait_all_tasks_blocked()
        for payload, origin in origins.items():
            MemorySocket(world.network, origin.host, origin.port).send(payload.encode(), ours)
    expected = [payload for payload in origins if payload in "a" + let_in]
    assert world.delivered == [(encode_header(origins[each]) + each.encode(), 1) for each in expected]
    assert world.tally.drops[Drop.STRANGER] == 3 - len(expected)


async def test_a_name_keeps_nobody_waiting(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    world = beyond(nursery, far_example=FOUR.host)
    world.network.resolve_delay = 2
    async with world.running(way := way_of(world)):
        send(way, NAMED, b"first")
        send(way, SIX, b"second")
        send(way, NAMED, b"third")
        assert [data for _, data in world.sent] == [b"second"]
        await trio.sleep(3)
        send(way, NAMED, b"fourth")
        assert [data for _, data in world.sent] == [b"second", b"first", b"third", b"fourth"]


@pytest.mark.parametrize("how", ["silent", "no route", "no socket"])
async def test_a_dead_first_address_of_a_name_does_not_stick(
    how: str, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    world = beyond(nursery)
    network = world.network
    network.names["far.example"] = [SIX.host, FOUR.host]
    if how == "no route":
        network.unroutable.add(SIX.host)
    opened = network.open_udp

    def open_udp(host: str) -> MemorySocket:
        if how == "no socket" and ":" in host:
            raise OSError
        return opened(host)

    there = MemorySocket(network, FOUR.host, FOUR.port)

    def echo(data: bytes, source: tuple[str, int]) -> None:
        there.send(data, source)

    way = DirectPath(open_udp, network.resolve, 5, world.tally)
    async with world.running(way):
        nursery.start_soon(there.run, echo)
        for number in range(4):
            send(way, NAMED, b"%d" % number)
            await trio.sleep(0.3)
    echoed = [payload for payload, _ in world.delivered]
    expected = [b"1", b"2", b"3"] if how == "silent" else [b"0", b"1", b"2", b"3"]
    assert echoed == [encode_header(FOUR) + payload for payload in expected]
    assert str(world.tally.drops) == ""


async def test_without_a_socket_datagrams_are_dropped(nursery: trio.Nursery) -> None:
    def none(_: str) -> MemorySocket:
        raise OSError

    world = beyond(nursery)
    way = DirectPath(none, world.network.resolve, 5, world.tally)
    async with world.running(way):
        send(way, SIX)
    assert world.tally.drops[Drop.UNSENT] == 1


async def test_what_is_no_address_is_malformed(nursery: trio.Nursery) -> None:
    world = beyond(nursery)
    async with world.running(way := way_of(world)):
        way.send(b"\0\0\0\x03\x00\0\x35", 7)
    assert world.tally.drops[Drop.MALFORMED] == 1


async def test_destinations_are_forgotten_when_they_become_too_many(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "REMEMBERED", 4)
    world = beyond(nursery)
    async with world.running(way := way_of(world)):
        for number in range(1, 20):
            send(way, Address("192.0.2.1", number))
            send(way, Address("192.0.2.2", 7))  # in use all the time, and never forgotten
        [ours] = world.network.sockets
        await wait_all_tasks_blocked()
        for host, port in (("192.0.2.2", 7), ("192.0.2.1", 19), ("192.0.2.1", 1)):
            MemorySocket(world.network, host, port).send(b"answer", ours)
    assert len(world.delivered) == 2
    assert world.tally.drops[Drop.STRANGER] == 1


async def test_datagrams_go_to_allowed_addresses_only(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """An address is judged where it is sent to: behind a name, and inside another address."""
    world = beyond(nursery)
    world.network.names["far.example"] = [SIX.host, FOUR.host]
    world.network.names["other.example"] = [FOUR.host]
    judged: list[tuple[str, str]] = []

    def allowed(destination: Address, address: Address) -> bool:
        judged.append((destination.host, address.host))
        return address.host != FOUR.host

    async with world.running(way := DirectPath(world.network.open_udp, world.network.resolve, 5, world.tally, allowed)):
        for to in (FOUR, Address("::ffff:192.0.2.53", 53), NAMED, Address("other.example", 53), SIX):
            send(way, to, to.host.encode())
        await trio.sleep(1)
        send(way, Address("other.example", 53), b"again")
    assert sorted(world.sent) == [((SIX.host, 53), SIX.host.encode()), ((SIX.host, 53), b"far.example")]
    assert world.tally.drops[Drop.FORBIDDEN] == 4
    assert {(FOUR.host, FOUR.host), (NAMED.host, SIX.host), ("other.example", FOUR.host)} <= set(judged)
