"""Several addresses for one name, side by side, with exact virtual times."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest
import trio

from chainsocks.chain.eyeballs import ATTEMPT_DELAY, connect_first
from chainsocks.protocol.address import Address
from tests.memory import Host, MemoryNetwork, MemoryStream

A, B, C = Address("2001:db8::1", 80), Address("192.0.2.1", 80), Address("2001:db8::2", 80)


async def wait_for_the_end(stream: MemoryStream) -> None:
    await trio.sleep_forever()


def answering(delay: float) -> Host:
    return Host(wait_for_the_end, delay)


def failing(delay: float, error: int = errno.ECONNREFUSED) -> Host:
    return Host(delay=delay, error=error)


@dataclass(frozen=True)
class Race:
    """How each address answers, who wins and when; an errno is the error that is left when nobody does."""

    hosts: dict[Address, Host]
    result: Address | int
    seconds: float


RACES = {
    "the only one": Race({A: answering(0.1)}, A, 0.1),
    "the only one fails": Race({A: failing(3)}, errno.ECONNREFUSED, 3),
    "the first is quick enough": Race({A: answering(0.2), B: answering(0)}, A, 0.2),
    "the first is slow, the second joins": Race({A: answering(10), B: answering(0.1)}, B, ATTEMPT_DELAY + 0.1),
    "the first fails, the second need not wait": Race({A: failing(0.1), B: answering(0.1)}, B, 0.2),
    "the first wins though others have joined": Race({A: answering(0.6), B: answering(9), C: answering(9)}, A, 0.6),
    "broken IPv6 costs one delay": Race({A: Host(), B: answering(0.05)}, B, ATTEMPT_DELAY + 0.05),
    "all fail: the destination's own word": Race(
        {A: failing(0, errno.ENETUNREACH), B: failing(0.1)}, errno.ECONNREFUSED, 0.1
    ),
    "all unreachable": Race({A: failing(0, errno.ENETUNREACH), B: failing(0, errno.ENETUNREACH)}, errno.ENETUNREACH, 0),
}


@pytest.mark.parametrize("race", RACES.values(), ids=RACES.keys())
async def test_a_race(race: Race, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, race.hosts)
    began = trio.current_time()
    if isinstance(race.result, Address):
        stream = await connect_first(list(race.hosts), network.open_tcp)
        assert isinstance(stream, MemoryStream)
        assert stream.label == f"{race.result} near"
        assert network.left_open == [stream]
    else:
        with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is what matters)
            await connect_first(list(race.hosts), network.open_tcp)
        assert caught.value.errno == race.result
        assert network.left_open == []
    assert trio.current_time() - began == pytest.approx(race.seconds)


@pytest.mark.parametrize("count", [19, 20, 21, 1000])
async def test_a_name_has_a_bounded_number_of_connects(
    count: int, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    addresses = [Address(f"2001:db8::{number:x}", 80) for number in range(count)]
    network = MemoryNetwork(nursery)  # which refuses all of them
    with pytest.raises(ConnectionRefusedError):
        await connect_first(addresses, network.open_tcp)
    assert [address for _, address in network.connects] == addresses[:20]


SILENT = Host()


@dataclass(frozen=True)
class LateRace(Race):
    """A race in which all but the first of the hosts are known `later` seconds after it."""

    later: float = 0


LATE_RACES = {
    "the first is there before the rest is known": LateRace({B: answering(0.1), A: answering(0)}, B, 0.1, 5),
    "the rest joins a slow first": LateRace({B: SILENT, A: answering(0.1)}, A, 2.1, 2),
    "the rest does not cut the first one's turn short": LateRace({B: SILENT, A: answering(0)}, A, ATTEMPT_DELAY, 0.1),
    "the first fails, the rest is still to come": LateRace({B: failing(0.1), A: answering(0.2)}, A, 0.9, 0.7),
    "the first fails, the rest takes too long": LateRace(
        {B: failing(0.1), A: answering(0)}, errno.ECONNREFUSED, 1.1, 9
    ),
    "all fail": LateRace({B: failing(0.1), A: failing(0.2, errno.ENETUNREACH)}, errno.ECONNREFUSED, 0.9, 0.7),
    "nothing joins": LateRace({B: failing(0.1)}, errno.ECONNREFUSED, 0.5, 0.5),
}


@pytest.mark.parametrize("race", LATE_RACES.values(), ids=LATE_RACES.keys())
async def test_addresses_that_join_a_race(
    race: LateRace, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery, race.hosts)
    first, *others = race.hosts

    async def rest() -> list[Address]:
        await trio.sleep(race.later)
        return [*others, first]

    if isinstance(race.result, Address):
        stream = await connect_first([first], network.open_tcp, rest)
        assert network.left_open == [stream]
        assert isinstance(stream, MemoryStream)
        assert stream.label == f"{race.result} near"
    else:
        with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is what matters)
            await connect_first([first], network.open_tcp, rest)
        assert caught.value.errno == race.result
    assert trio.current_time() == pytest.approx(race.seconds)
    assert len({address for _, address in network.connects}) == len(network.connects)


async def test_those_that_join_have_their_turn_before_the_others(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    four = [Address(f"192.0.2.{number}", 80) for number in range(100)]
    six = [Address(f"2001:db8::{number:x}", 80) for number in range(100)]
    network = MemoryNetwork(nursery, dict.fromkeys((*four, *six), SILENT))

    async def rest() -> list[Address]:
        await trio.sleep(0.3)
        return [*six, *four]

    with trio.move_on_after(60):
        await connect_first(four, network.open_tcp, rest)
    order = [address for _, address in network.connects]
    assert order[:6] == [four[0], four[1], six[0], four[2], six[1], four[3]]
    assert len(order) == 20


async def test_a_tie_leaves_one_open(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    # Both come through in the same instant, too late to cancel either.
    network = MemoryNetwork(nursery)
    arrived = trio.Event()

    async def open_tcp(address: Address) -> MemoryStream:
        with trio.CancelScope(shield=True):
            if address == B:
                arrived.set()
            await arrived.wait()
        return network.pair(str(address))[0]

    stream = await connect_first([A, B], open_tcp)
    assert network.left_open == [stream]
    assert len(network.streams) == 2
