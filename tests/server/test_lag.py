from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from chainsocks.server.lag import ATTENTION, CLOSE_LOOK, COARSE, FINE, RARE, WINDOW, LagMeter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    return MockClock(autojump_threshold=0)


def measured(clock: MockClock, ask: Callable[[LagMeter], object] | None, *, blocked: float) -> float:
    """Let something hold up the loop, after a question, and return what the meter says of it."""

    async def main() -> float:
        meter = LagMeter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meter.run)
            await trio.sleep(RARE + 0.001)
            if ask:
                ask(meter)
                await trio.sleep(FINE / 2)
            clock.jump(blocked)
            await trio.sleep(RARE)
            nursery.cancel_scope.cancel()
        return meter.ask()

    return trio.run(main, clock=clock)


@pytest.mark.parametrize(
    ("ask", "sleep"),
    [(None, RARE), (LagMeter.ask, COARSE), (LagMeter.look_closely, FINE)],
    ids=["never", "asked", "close"],
)
def test_a_loop_that_is_held_up_for_longer_than_a_sleep_is_late(
    clock: MockClock, ask: Callable[[LagMeter], object] | None, sleep: float
) -> None:
    assert measured(clock, ask, blocked=10 * sleep) == pytest.approx(9 * sleep, abs=sleep)


@pytest.mark.parametrize("ask", [None, LagMeter.ask, LagMeter.look_closely], ids=["never", "asked", "close"])
def test_a_loop_that_moves_is_not_late(clock: MockClock, ask: Callable[[LagMeter], object] | None) -> None:
    assert measured(clock, ask, blocked=0) == pytest.approx(0, abs=1e-9)


class Wakings(trio.abc.Instrument):
    """Counts how often a meter is woken."""

    def __init__(self) -> None:
        self.count = 0

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name.endswith("LagMeter.run")

    async def within(self, seconds: float) -> int:
        before = self.count
        await trio.sleep(seconds)
        return self.count - before


async def test_it_wakes_seldom_while_nothing_asks(autojump_clock: MockClock) -> None:
    meter, wakings = LagMeter(), Wakings()
    trio.lowlevel.add_instrument(wakings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.run)
        await trio.sleep(0.1)
        assert await wakings.within(100 * RARE) == 100
        meter.ask()
        assert await wakings.within(ATTENTION) == pytest.approx(ATTENTION / COARSE, abs=2)
        assert await wakings.within(100 * RARE) == pytest.approx(100, abs=2)
        nursery.cancel_scope.cancel()


async def test_the_past_is_forgotten(autojump_clock: MockClock) -> None:
    meter = LagMeter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.run)
        await trio.sleep(0.1)
        autojump_clock.jump(RARE + 5)
        await trio.sleep(RARE)
        assert meter.ask() > 4
        await trio.sleep(2 * WINDOW + CLOSE_LOOK)
        assert meter.ask() < 0.1
        nursery.cancel_scope.cancel()


def test_the_real_clock_is_measured() -> None:
    async def main() -> float:
        meter = LagMeter()
        meter.look_closely()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meter.run)
            await trio.sleep(0.02)
            time.sleep(0.05)  # noqa: ASYNC251  (it holds up the loop)
            await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        return meter.ask()

    assert trio.run(main) > 0.03
