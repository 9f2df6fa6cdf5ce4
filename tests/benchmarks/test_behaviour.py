"""Sessions that end in every way: both ends are content with a relay that is right, and find out one that is not."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto

import pytest
import trio

from benchmarks.behaviour import (
    LARGEST,
    Ending,
    Part,
    Plan,
    Speech,
    early_bytes,
    make_block,
    make_plan,
    play,
    prepare,
)

SEED = 7
BLOCK = make_block(SEED)
LARGE = 3 << 20


class Fault(Enum):
    """What a relay does wrong."""

    NONE = auto()
    LOSES_URGENT_BYTES = auto()
    LOSES_THE_LAST_BYTE = auto()
    SWAPS_BYTES = auto()
    ENDS_ON_RESET = auto()
    RESETS_ON_END = auto()
    CLOSES_ON_END = auto()


def a_plan(ending: Ending, largest: int = LARGEST) -> Plan:
    """The first plan that ends so."""
    return next(plan for number in range(1000) if (plan := make_plan(SEED, number, largest)).ending is ending)


@asynccontextmanager
async def relayed(fault: Fault) -> AsyncIterator[tuple[trio.socket.SocketType, trio.socket.SocketType]]:
    """Two connections with a relay between them."""
    async with trio.open_nursery() as nursery:
        client, front = await connection()
        back, target = await connection()
        for sock in (client, target):
            prepare(sock)
        if fault is not Fault.LOSES_URGENT_BYTES:
            for sock in (front, back):
                prepare(sock)
        with client, front, back, target:
            nursery.start_soon(pump, front, back, fault)
            nursery.start_soon(pump, back, front, fault)
            yield client, target
            nursery.cancel_scope.cancel()


async def connection() -> tuple[trio.socket.SocketType, trio.socket.SocketType]:
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        sock = trio.socket.socket()
        await sock.connect(listener.getsockname())
        accepted, _ = await listener.accept()
        return sock, accepted


async def pump(source: trio.socket.SocketType, sink: trio.socket.SocketType, fault: Fault) -> None:
    carried = 0
    try:
        while data := await source.recv(65536):
            if fault is Fault.LOSES_THE_LAST_BYTE and carried + len(data) == 5000:
                data = data[:-1]
            elif fault is Fault.SWAPS_BYTES and len(data) > 1:
                data = data[1:] + data[:1]
            carried += len(data)
            while data:
                data = data[await sink.send(data) :]
        await trio.sleep(0.01)  # the other direction may have had the error, and closes both
        if fault is Fault.RESETS_ON_END:
            raise ConnectionResetError
        if fault is Fault.CLOSES_ON_END:
            source.shutdown(socket.SHUT_RDWR)
            sink.shutdown(socket.SHUT_RDWR)
        else:
            sink.shutdown(socket.SHUT_WR)
    except OSError:
        if fault is Fault.ENDS_ON_RESET:
            with suppress(OSError):  # it may be the one that was reset
                sink.shutdown(socket.SHUT_WR)
            return
        for sock in (sink, source):
            if sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
    except trio.ClosedResourceError:
        pass  # by the other direction


async def run(plan: Plan, fault: Fault) -> list[str]:
    """Play both ends; return the problems that they have, or that they do not end."""
    problems: list[str] = []

    async def one(sock: trio.socket.SocketType, part: Part) -> None:
        problems.append(await play(sock, part, BLOCK))

    with trio.move_on_after(10 if fault is Fault.NONE else 1) as limit:
        async with relayed(fault) as (client, target), trio.open_nursery() as nursery:
            await client.send(early_bytes(plan.client, BLOCK))
            nursery.start_soon(one, client, plan.client)
            nursery.start_soon(one, target, plan.target)
    return [*filter(None, problems), *(["no end"] if limit.cancelled_caught else [])]


def test_a_seed_and_a_number_give_one_plan() -> None:
    plans = [make_plan(SEED, number) for number in range(300)]
    assert plans == [make_plan(SEED, number) for number in range(300)]
    assert plans != [make_plan(SEED + 1, number) for number in range(300)]
    assert {plan.ending for plan in plans} == set(Ending)
    assert {(plan.hops, plan.version) for plan in plans} == {
        (hops, version) for hops in (0, 1, 3) for version in (4, 5)
    }
    parts = [part for plan in plans for part in (plan.client, plan.target)]
    assert min(part.says.size for part in parts) == 1
    assert 1 << 20 < max(part.says.size for part in parts) <= LARGEST
    assert any(part.is_slow for part in parts)
    for part in parts:
        assert all(0 <= offset < part.says.size for offset in part.says.urgent)
        assert part.resets_after <= part.hears.size
        assert part.early <= min([part.says.size, *part.says.urgent])
        assert not (part.early and part.begins_last)
    assert 50 < sum(plan.client.early > 0 for plan in plans) < 100
    assert not any(plan.target.early for plan in plans)
    assert {make_plan(SEED, number, hops=[1]).hops for number in range(20)} == {1}


async def test_bytes_that_came_with_the_request_come_first_and_once() -> None:
    assert await run(with_early_bytes(), Fault.NONE) == []


@pytest.mark.parametrize("ending", Ending)
@pytest.mark.parametrize("largest", [1, 1000, LARGE])
async def test_a_relay_that_is_right(ending: Ending, largest: int) -> None:
    assert await run(a_plan(ending, largest), Fault.NONE) == []


def two_way() -> Plan:
    """Both ends say some bytes, an urgent one among them, and finish."""
    up, down = Speech(10, 5000, (0, 2000, 4999)), Speech(99, 3000, (1500,))
    return Plan(1, 0, 5, Ending.FINISH, Part(up, down), Part(down, up))


def with_early_bytes() -> Plan:
    up, down = Speech(10, 5000, (3000,)), Speech(99, 3000)
    return Plan(1, 0, 5, Ending.FINISH, Part(up, down, early=2000), Part(down, up))


def by_client_reset() -> Plan:
    up, down = Speech(10, 5000), Speech(99, 3000)
    client = Part(up, down, finishes=False, resets_after=3000)
    return Plan(1, 0, 5, Ending.CLIENT_RESETS, client, Part(down, up, finishes=False, is_reset=True))


def by_target_half_close() -> Plan:
    up, down = Speech(10, 5000), Speech(99, 3000)
    return Plan(1, 0, 5, Ending.TARGET_FIRST, Part(up, down, begins_last=True), Part(down, up))


def by_late_reset() -> Plan:
    up, down = Speech(10, 5000), Speech(99, 3000)
    target = Part(down, up, finishes=False, begins_last=True, is_reset=True)
    return Plan(1, 0, 5, Ending.CLIENT_RESETS_LATER, Part(up, down, resets_after=2000), target)


@pytest.mark.parametrize(
    ("fault", "plan", "problem"),
    [
        (Fault.LOSES_URGENT_BYTES, two_way(), "wrong bytes behind the first 0"),
        (Fault.LOSES_THE_LAST_BYTE, two_way(), "a regular end after 4999 of 5000 bytes"),
        (Fault.SWAPS_BYTES, two_way(), "wrong bytes"),
        (Fault.ENDS_ON_RESET, by_client_reset(), "in the place of a reset"),
        (Fault.ENDS_ON_RESET, by_late_reset(), "no end"),
        (Fault.RESETS_ON_END, by_target_half_close(), "reset by peer after"),
        (Fault.CLOSES_ON_END, by_target_half_close(), "a regular end after 0 of 5000 bytes"),
        (Fault.RESETS_ON_END, by_late_reset(), "reset by peer after"),
    ],
)
async def test_a_relay_that_is_not(fault: Fault, plan: Plan, problem: str) -> None:
    assert problem in "; ".join(await run(plan, fault))
    assert await run(plan, Fault.NONE) == []
