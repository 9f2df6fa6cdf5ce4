"""Several workers behind one control socket: what becomes of their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from chainsocks.control.ask import Asker
from chainsocks.control.messages import (
    Draining,
    Hop,
    HopState,
    Reloaded,
    Request,
    ServerState,
    Session,
    Status,
    What,
    Worker,
)
from chainsocks.control.serve import serve_control
from chainsocks.server.all_workers import PATIENCE, AllWorkers, Member, ServerControls
from tests.control.fleets import HOP, STATUS, FakeFleet, some_sessions

WELL = replace(HOP, state=HopState.WELL, why=None, since=None, retry=None, failures=0, dial_time=0.2, success=1.0)


def worker(number: int, *hops: Hop, **settings: object) -> FakeFleet:
    status = replace(
        STATUS,
        sessions=number,
        max_sessions=10,
        hops=len(hops),
        ended=100,
        failed=10,
        up=1,
        down=2,
        workers=(Worker(number, 1000 + number, number, 10, 0),),
    )
    return FakeFleet(status_now=status, hops_now=hops, **settings)  # type: ignore[arg-type]


class Stuck(FakeFleet):
    """Never answers."""

    async def status(self) -> Status:
        await trio.sleep_forever()

    async def hops(self) -> Sequence[Hop]:
        await trio.sleep_forever()


@asynccontextmanager
async def all_of(*fleets: FakeFleet) -> AsyncIterator[tuple[AllWorkers, list[trio.CancelScope]]]:
    drained: list[float] = []

    async def reload() -> Reloaded:
        return Reloaded("c.toml", ())

    all_workers = AllWorkers(ServerControls(reload, drained.append, 17, lambda: 10), 0)
    all_workers.expected = len(fleets)
    scopes = []
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.abc.Stream, fleet: FakeFleet, scope: trio.CancelScope) -> None:
            with scope:
                await serve_control(stream, fleet)

        for number, fleet in enumerate(fleets, 1):
            ours, theirs = memory_stream_pair()
            scopes.append(trio.CancelScope())
            nursery.start_soon(serve, theirs, fleet, scopes[-1])
            await all_workers.join(Member(number, 1000 + number, Asker(ours)))
        yield all_workers, scopes
        nursery.cancel_scope.cancel()


async def sessions_of(all_workers: AllWorkers) -> list[Session]:
    found: list[Session] = []

    async def take(some: Sequence[Session]) -> None:
        found.extend(some)

    await all_workers.sessions(take)
    return found


async def test_the_status_is_that_of_all() -> None:
    async with all_of(worker(1, WELL), worker(2, WELL)) as (all_workers, _):
        status = await all_workers.status()
        assert (status.state, status.pid, status.listen) == (ServerState.RUNNING, 17, STATUS.listen)
        assert (status.sessions, status.max_sessions, status.hops, status.hops_well) == (3, 20, 1, 1)
        assert (status.ended, status.failed, status.up, status.down, status.trouble) == (200, 20, 2, 4, ())
        assert [each.pid for each in status.workers] == [1001, 1002]


async def test_sessions_are_those_of_all() -> None:
    async with all_of(worker(1, rows=some_sessions(300)), worker(2, rows=some_sessions(5))) as (all_workers, _):
        assert len(await sessions_of(all_workers)) == 305


async def test_a_hop_is_shown_at_its_worst() -> None:
    async with all_of(worker(1, WELL), worker(2, replace(HOP, workers_avoiding=1)), worker(3, WELL)) as (
        all_workers,
        _,
    ):
        [hop] = await all_workers.hops()
        assert (hop.state, hop.why, hop.retry) == (HopState.BACKOFF, HOP.why, HOP.retry)
        assert (hop.workers, hop.workers_avoiding, hop.sessions) == (3, 1, 6)
        assert hop.dial_time == pytest.approx(0.2)
        assert hop.success == 1.0
        assert (await all_workers.status()).trouble == ("hop osaka is in backoff in 1 of 3 workers: no answer",)


async def test_orders_go_to_all() -> None:
    fleets = [worker(1, WELL), worker(2, WELL)]
    async with all_of(*fleets) as (all_workers, _):
        assert await all_workers.kill(Request(what=What.KILL, user="carol")) == 2
        assert await all_workers.rest("osaka") == 1
        assert await all_workers.rest("oslo") == 0
        assert await all_workers.wake("osaka") == 1
        for fleet in fleets:
            assert [told[1] if isinstance(told, tuple) else told.what for told in fleet.told] == [  # type: ignore[attr-defined]
                What.KILL,
                "osaka",
                "oslo",
                "osaka",
            ]


async def test_a_worker_that_joins_later_is_told_what_is_rested() -> None:
    async with all_of(worker(1, WELL)) as (all_workers, _), trio.open_nursery() as nursery:
        await all_workers.rest("osaka")
        late = worker(2, WELL)
        ours, theirs = memory_stream_pair()
        nursery.start_soon(serve_control, theirs, late)
        await all_workers.join(Member(2, 1002, Asker(ours)))
        assert late.told == [("rest", "osaka")]
        nursery.cancel_scope.cancel()


async def test_a_worker_that_has_died_is_left_out() -> None:
    async with all_of(worker(1), worker(2)) as (all_workers, scopes):
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        status = await all_workers.status()
        assert [each.number for each in status.workers] == [2]
        assert status.trouble == ("1 of 2 workers run",)


async def test_a_worker_that_is_stuck_keeps_nobody_waiting_for_long(autojump_clock: MockClock) -> None:
    async with all_of(Stuck(), worker(2, rows=some_sessions(5))) as (all_workers, _):
        status = await all_workers.status()
        assert trio.current_time() <= 3 * PATIENCE
        assert [(each.number, each.answers) for each in status.workers] == [(1, False), (2, True)]
        assert "worker 1 does not answer" in status.trouble
        assert len(await sessions_of(all_workers)) >= 5


async def test_the_server_is_steered_by_its_parent() -> None:
    async with all_of(worker(1)) as (all_workers, _):
        assert await all_workers.reload() == Reloaded("c.toml", ())
        assert await all_workers.drain(2.5) == Draining(17, 2.5, 10)
        status = await all_workers.status()
        assert (status.state, status.trouble) == (ServerState.DRAINING, ("the server is about to stop",))


async def test_metrics_stay_apart() -> None:
    async with all_of(worker(1, counted=[{"worker": 1}]), worker(2, counted=[{"worker": 2}])) as (all_workers, _):
        assert await all_workers.metrics() == [{"worker": 1}, {"worker": 2}]
