"""Relays with a limited bandwidth: what moves, at which rate, and who goes first, over real sockets."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.config.limits import Limit
from chainsocks.datagrams import Drop
from chainsocks.limits.bandwidth import Bandwidth
from chainsocks.net.poller import Poller
from chainsocks.observe.record import Traffic
from chainsocks.observe.tally import Drops
from chainsocks.relay.datagrams import Deliver, Ready
from chainsocks.relay.polled_relay import PolledRelay
from chainsocks.relay.relay import Outcome, PumpedRelay, Relay
from chainsocks.relay.throttled import ThrottledPath, throttled_relay_between
from tests.net.sockets import PATIENCE, reset
from tests.relay.ways import Direction, Line, memory_line, noise, polled_line

RATE = 1_000_000
CHUNK = 65536
"""Bytes that a direction of a relay may be ahead or behind."""
MIB = 1024 * 1024


@pytest.fixture
def patient_clock(autojump_clock: MockClock) -> MockClock:
    """A clock that leaves the kernel time to move bytes."""
    autojump_clock.autojump_threshold = PATIENCE
    return autojump_clock


@dataclass
class Running:
    """A relay at work."""

    client: Line
    upstream: Line
    relay: Relay[Any]
    traffic: Traffic
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        with self.scope:
            await self.relay.run(self.scope)
        self.ended.set()


@dataclass
class Relays:
    """Relays that share a bandwidth."""

    bandwidth: Bandwidth
    open_line: Callable[[], Line]
    nursery: trio.Nursery
    counted: list[Limit]

    def start(self, account: str) -> Running:
        share, traffic = self.bandwidth.share_of(account), Traffic()
        assert share
        client, upstream = self.open_line(), self.open_line()
        relay = throttled_relay_between(client.near, upstream.near, traffic, share, idle=math.inf, half_close=math.inf)
        running = Running(client, upstream, relay, traffic)
        self.nursery.start_soon(running.run)
        return running

    def pour(self, line: Line) -> None:
        """Have a peer send all that is taken."""

        async def pour() -> None:
            with suppress(BrokenResourceError, ClosedResourceError):
                while True:
                    await line.far.send(bytes(MIB))

        self.nursery.start_soon(pour)

    def drain(self, line: Line) -> None:
        """Have a peer take all that comes."""

        async def drain() -> None:
            with suppress(BrokenResourceError, ClosedResourceError, EndOfStream):
                while True:
                    await line.far.receive()

        self.nursery.start_soon(drain)

    def fill(self, running: Running, direction: Direction) -> None:
        """Move all that the relay lets through, in a direction."""
        ends = running.client, running.upstream
        source, sink = ends if direction is Direction.UP else ends[::-1]
        self.pour(source)
        self.drain(sink)


@pytest.fixture(params=["polled", "pumped"])
async def relays(request: pytest.FixtureRequest, poller: Poller, patient_clock: MockClock) -> AsyncIterator[Relays]:
    with ExitStack() as lines:
        kinds = {"polled": lambda: polled_line(poller), "pumped": memory_line}
        async with relays_over(lambda: lines.enter_context(kinds[request.param]())) as running:
            yield running


@pytest.fixture
async def polled(poller: Poller, patient_clock: MockClock) -> AsyncIterator[Relays]:
    with ExitStack() as lines:
        async with relays_over(lambda: lines.enter_context(polled_line(poller))) as running:
            yield running


@asynccontextmanager
async def relays_over(open_line: Callable[[], Line]) -> AsyncIterator[Relays]:
    counted: list[Limit] = []
    bandwidth = Bandwidth(trio.current_time, counted.append)
    bandwidth.change(RATE, None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bandwidth.run)
        yield Relays(bandwidth, open_line, nursery, counted)
        nursery.cancel_scope.cancel()
    assert [share.users for share in bandwidth._shares.values() if share.users or share.waiting] == []


def moved(*running: Running) -> int:
    return sum(each.traffic.up + each.traffic.down for each in running)


async def moved_in(seconds: float, *running: Running) -> int:
    before = moved(*running)
    await trio.sleep(seconds)
    return moved(*running) - before


async def test_the_rate(relays: Relays, direction: Direction) -> None:
    one = relays.start("a")
    relays.fill(one, direction)
    await trio.sleep(0.5)
    assert await moved_in(1, one) == pytest.approx(RATE, abs=2 * CHUNK)
    assert set(relays.counted) == {Limit.BANDWIDTH}


async def test_both_directions_and_all_relays_share_it(relays: Relays) -> None:
    one, two, three = relays.start("a"), relays.start("a"), relays.start("b")
    relays.fill(one, Direction.UP)
    relays.fill(one, Direction.DOWN)
    relays.fill(two, Direction.UP)
    relays.fill(three, Direction.DOWN)
    await trio.sleep(0.5)
    before = moved(three)
    assert await moved_in(1, one, two, three) == pytest.approx(RATE, abs=6 * CHUNK)
    assert moved(three) - before == pytest.approx(RATE / 2, abs=4 * CHUNK), "users have equal parts"


async def test_all_bytes_arrive_and_the_end(relays: Relays) -> None:
    data = noise(1_400_000)
    one = relays.start("a")

    async def say() -> None:
        await one.client.far.send(data)
        await one.client.far.send_eof()

    relays.nursery.start_soon(say)
    heard = b""
    with suppress(EndOfStream):
        while True:
            heard += await one.upstream.far.receive()
    assert heard == data
    assert trio.current_time() > 1
    await one.upstream.far.send(b"answer")
    await one.upstream.far.send_eof()
    assert await one.client.far.receive() == b"answer"
    await one.ended.wait()
    assert one.relay.outcome is Outcome.FINISHED


async def test_a_word_of_another_user_comes_through_soon(relays: Relays) -> None:
    bulk = [relays.start("a") for _ in range(5)]
    for each in bulk:
        relays.fill(each, Direction.DOWN)
    other = relays.start("b")
    await trio.sleep(0.5)
    for _ in range(5):
        began = trio.current_time()
        await other.client.far.send(b"ping")
        assert await other.upstream.far.receive() == b"ping"
        assert trio.current_time() - began < 0.3
        await trio.sleep(0.05)


async def test_a_relay_that_waits_can_be_cancelled(relays: Relays) -> None:
    one = relays.start("a")
    relays.fill(one, Direction.UP)
    await trio.sleep(0.5)
    one.scope.cancel()
    await one.ended.wait()


async def test_a_client_that_resets_while_its_relay_waits(polled: Relays) -> None:
    one = polled.start("a")
    polled.fill(one, Direction.UP)
    await trio.sleep(0.5)
    reset(one.client.far.socket)  # type: ignore[attr-defined]
    await one.ended.wait()
    assert one.relay.outcome is Outcome.CLIENT_BROKEN


async def test_bulk_is_spliced(polled: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    polled.bandwidth.change(200 * MIB, None)
    calls: list[int] = []
    monkeypatch.setattr("chainsocks.relay.flow.os.splice", counting(calls))
    one = polled.start("a")
    polled.fill(one, Direction.UP)
    while moved(one) < 20 * MIB:  # noqa: ASYNC110  (bytes have no event)
        await trio.sleep(0.05)
    assert sum(calls) > 1.8 * moved(one), "into the pipe and out of it"


def counting(calls: list[int]) -> Callable[..., int]:
    splice = os.splice

    def counted(source: int, sink: int, size: int, *, flags: int) -> int:
        moved = splice(source, sink, size, flags=flags)
        calls.append(moved)
        return moved

    return counted


async def test_another_limit_holds_for_relays_that_run(polled: Relays) -> None:
    one = polled.start("a")
    polled.fill(one, Direction.UP)
    await trio.sleep(1)
    polled.bandwidth.change(5 * RATE, None)
    assert await moved_in(1, one) == pytest.approx(5 * RATE, rel=0.15)


async def test_the_kind_of_relay_depends_on_the_streams(poller: Poller) -> None:
    bandwidth = Bandwidth(lambda: 0.0, lambda _: None)
    bandwidth.change(RATE, None)
    with polled_line(poller) as polled, memory_line() as plain:
        for client, kind in ((polled, PolledRelay), (plain, PumpedRelay)):
            share = bandwidth.share_of("a")
            assert share
            relay = throttled_relay_between(client.near, polled.near, Traffic(), share, idle=1, half_close=1)
            assert isinstance(relay, kind)


class Path:
    """A path of datagrams that counts."""

    def __init__(self) -> None:
        self.sent = 0
        self.deliver: Deliver

    def send(self, datagram: bytes, header: int) -> None:
        self.sent += len(datagram) - header

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        self.deliver = deliver
        ready()
        await trio.sleep_forever()


async def test_datagrams_beyond_the_bandwidth_are_dropped(autojump_clock: MockClock) -> None:
    bandwidth, path, drops, delivered = Bandwidth(trio.current_time, lambda _: None), Path(), Drops(), []
    bandwidth.change(RATE, None)
    share = bandwidth.share_of("a")
    assert share
    throttled = ThrottledPath(path, share, drops)
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[None]) -> None:
            await throttled.run(lambda _, size: delivered.append(size), task_status.started)

        nursery.start_soon(bandwidth.run)
        await nursery.start(run)
        for _ in range(1000):
            throttled.send(bytes(10 + 1000), 10)
            path.deliver(bytes(10 + 1000), 1000)
            await trio.sleep(0.001)
        assert path.sent + sum(delivered) == pytest.approx(RATE, rel=0.25)
        assert path.sent == pytest.approx(sum(delivered), rel=0.3)
        assert drops[Drop.LIMITED] + (path.sent + sum(delivered)) / 1000 == 2000
        nursery.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert not share.waiting
