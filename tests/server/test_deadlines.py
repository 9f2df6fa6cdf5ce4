"""Deadline scopes keep time as trio's own do, wherever their deadline is moved, and leave nothing behind."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from chainsocks.server.deadlines import MAX_STALE, Deadlines, open_deadlines


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    async with open_deadlines() as deadlines:
        yield deadlines


@pytest.mark.parametrize(
    ("moves", "ends"),
    [
        pytest.param([7], 7, id="set once"),
        pytest.param([7, 9], 9, id="moved further"),
        pytest.param([7, 3], 3, id="moved nearer"),
        pytest.param([7, 3, 20], 20, id="nearer, then further than ever"),
        pytest.param([7, 9, 8], 8, id="further, then nearer again"),
        pytest.param([7, 3, 7], 7, id="there and back"),
        pytest.param([7, math.inf, 30], 30, id="switched off and on"),
        pytest.param([math.inf, 5], 5, id="from never"),
        pytest.param([0], 0, id="in the past"),
    ],
)
async def test_the_last_deadline_set_is_kept_exactly(
    autojump_clock: MockClock, deadlines: Deadlines, moves: list[float], ends: float
) -> None:
    with deadlines.open_scope(moves[0]) as scope:
        await trio.sleep_until(1)
        for deadline in moves[1:]:
            scope.deadline = deadline
            assert scope.deadline == deadline
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == ends


@pytest.mark.parametrize("later", [2, 6, 6.5])
async def test_a_deadline_moved_while_it_nears_is_kept_too(
    autojump_clock: MockClock, deadlines: Deadlines, later: float
) -> None:
    with deadlines.open_scope(2) as scope:
        for step in range(1, 6):
            scope.deadline = step + later
            await trio.sleep(1)
        await trio.sleep_forever()
    assert trio.current_time() == 5 + later


async def test_a_block_that_ends_in_time_is_not_cut_short(autojump_clock: MockClock, deadlines: Deadlines) -> None:
    with deadlines.open_scope(5) as scope:
        await trio.sleep(4)
    assert not scope.cancelled_caught
    await trio.sleep(10)
    assert not scope.cancelled_caught


async def test_never_is_never(autojump_clock: MockClock, deadlines: Deadlines) -> None:
    with deadlines.open_scope(math.inf) as scope:
        await trio.sleep(80_000)
    assert not scope.cancelled_caught


async def test_scopes_within_scopes(autojump_clock: MockClock, deadlines: Deadlines) -> None:
    with deadlines.open_scope(5) as outer:
        with deadlines.open_scope(3) as inner:
            await trio.sleep_forever()
        assert (inner.cancelled_caught, outer.cancelled_caught, trio.current_time()) == (True, False, 3)
        with deadlines.open_scope(9) as inner:
            await trio.sleep_forever()
    assert (inner.cancelled_caught, outer.cancelled_caught, trio.current_time()) == (False, True, 5)


async def test_errors_and_other_cancellations_pass_through(autojump_clock: MockClock, deadlines: Deadlines) -> None:
    with pytest.raises(ValueError, match="mine"), deadlines.open_scope(5):
        raise ValueError("mine")
    with trio.CancelScope() as outer, deadlines.open_scope(5) as scope:
        outer.cancel()
        await trio.sleep_forever()
    assert outer.cancelled_caught
    assert not scope.cancelled_caught


async def test_each_of_many_ends_at_its_own_time(autojump_clock: MockClock, deadlines: Deadlines) -> None:
    ended: dict[int, float] = {}

    async def wait(number: int) -> None:
        with deadlines.open_scope(100) as scope:
            scope.deadline = 1 + (number * 37) % 101
            await trio.sleep_forever()
        ended[number] = trio.current_time()

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(wait, number)
    assert ended == {number: 1 + (number * 37) % 101 for number in range(300)}


async def test_closed_scopes_leave_few_entries_behind(autojump_clock: MockClock, deadlines: Deadlines) -> None:
    with deadlines.open_scope(50) as alive:
        for _ in range(10 * MAX_STALE):
            with deadlines.open_scope(10):
                pass
        assert len(deadlines._heap) <= MAX_STALE + 2
        await trio.sleep_forever()
    assert alive.cancelled_caught
    assert trio.current_time() == 50
    assert deadlines._heap == []


async def test_moving_a_deadline_leaves_nothing_behind(autojump_clock: MockClock, deadlines: Deadlines) -> None:
    with deadlines.open_scope(10) as scope:
        for deadline in range(11, 1000):
            scope.deadline = deadline
        assert len(deadlines._heap) == 1
        for nearer in (9, 8, 7):
            scope.deadline = nearer
            scope.deadline = 500
        await trio.sleep_until(20)
        assert len(deadlines._heap) == 1
