from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock

from chainsocks.server.lag import CLOSE_LOOK, COARSE, FINE, WINDOW, LagMeter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    return MockClock(autojump_threshold=0)


def measured(clock: MockClock, *, closely: bool, blocked: float) -> float:
    """Let something hold up the loop, and return what the meter says of it."""

    async def main() -> float:
        meter = LagMeter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meter.run)
            await trio.sleep(2.001)
            if closely:
                meter.look_closely()
                await trio.sleep(FINE / 2)
            clock.jump(blocked)
            await trio.sleep(2 * COARSE)
            nursery.cancel_scope.cancel()
        return meter.worst

    return trio.run(main, clock=clock)


def test_a_loop_that_is_held_up_is_late(clock: MockClock) -> None:
    assert measured(clock, closely=False, blocked=3) == pytest.approx(3 - COARSE, abs=0.01)
    assert measured(clock, closely=False, blocked=0) == pytest.approx(0, abs=1e-9)


def test_a_short_lag_is_seen_by_a_close_look(clock: MockClock) -> None:
    assert measured(clock, closely=False, blocked=0.05) == pytest.approx(0, abs=1e-9)
    assert measured(clock, closely=True, blocked=0.05) == pytest.approx(0.05, abs=FINE)


async def test_the_past_is_forgotten(autojump_clock: MockClock) -> None:
    meter = LagMeter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.run)
        await trio.sleep(0.1)
        autojump_clock.jump(5)
        await trio.sleep(1)
        assert meter.worst > 4
        await trio.sleep(2 * WINDOW + CLOSE_LOOK)
        assert meter.worst < 0.1
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
        return meter.worst

    assert trio.run(main) > 0.03
