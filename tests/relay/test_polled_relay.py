"""The relay without a task, and which relay streams get; what relays do is in `test_relay.py`, for all kinds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.observe.record import Traffic
from chainsocks.relay.polled_relay import PolledRelay, relay_between
from chainsocks.relay.relay import Outcome, PumpedRelay
from tests.net.sockets import PATIENCE, read_exactly
from tests.relay.ways import memory_line, polled_line


@dataclass
class Owner:
    """Notes what it is told."""

    deadline: float = math.inf
    told: list[str] = field(default_factory=list)

    def relay_over(self) -> None:
        self.told.append("over")


async def test_streams_without_a_poller_are_pumped(poller: Poller) -> None:
    with polled_line(poller) as client, memory_line() as upstream:
        for pair in ((client.near, upstream.near), (upstream.near, client.near), (upstream.near, upstream.near)):
            assert isinstance(relay_between(*pair, Traffic(), idle=1, half_close=1), PumpedRelay)
        assert isinstance(relay_between(client.near, client.near, Traffic(), idle=1, half_close=1), PolledRelay)


@pytest.mark.parametrize("ends", [False, True])
async def test_without_a_task_its_owner_is_told_of_the_end_once(poller: Poller, *, ends: bool) -> None:
    owner = Owner()
    with polled_line(poller) as client, polled_line(poller) as upstream:
        assert isinstance(client.near, PolledStream)
        assert isinstance(upstream.near, PolledStream)
        relay = PolledRelay(client.near, upstream.near, traffic := Traffic(), idle=math.inf, half_close=math.inf)
        relay.start(owner, b"early ")
        await client.far.send(b"up")
        await upstream.far.send(b"down")
        assert await read_exactly(upstream.far, 8) == b"early up"
        assert await read_exactly(client.far, 4) == b"down"
        if ends:
            await client.far.send_eof()
            await wait_all_tasks_blocked()
            assert owner.told == []
            await upstream.far.send_eof()
            await wait_all_tasks_blocked()
        assert owner.told == ["over"] * ends
        assert relay.stop() is None
        for line in (client, upstream):  # nothing of this is told any more
            assert isinstance(line.near, PolledStream)
            line.near.take_back()
            line.reset()
        await wait_all_tasks_blocked()
        assert owner.told == ["over"] * ends
        assert relay.outcome is (Outcome.FINISHED if ends else Outcome.IDLE)
        assert traffic == Traffic(up=8, down=4)


async def test_without_a_task_it_moves_the_deadline_of_its_owner(poller: Poller, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = PATIENCE
    owner = Owner()
    with polled_line(poller) as client, polled_line(poller) as upstream:
        relay = relay_between(client.near, upstream.near, Traffic(), idle=80, half_close=40)
        assert isinstance(relay, PolledRelay)
        began = trio.current_time()
        relay.start(owner, b"")
        assert owner.deadline == pytest.approx(began + 90, abs=1)
        await trio.sleep(20)
        await upstream.far.send(b"x")
        await wait_all_tasks_blocked()
        assert owner.deadline == pytest.approx(began + 110, abs=1)
        await upstream.far.send_eof()
        await wait_all_tasks_blocked()
        assert owner.deadline == pytest.approx(began + 20 + 45, abs=1)
        relay.stop()
