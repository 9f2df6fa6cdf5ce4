"""The limit of a step: a moving deadline that becomes an error."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.limit import Limit
from tests.memory import MemoryNetwork


class LateError(Exception):
    pass


async def test_the_deadline_moves_and_becomes_the_error_of_the_step(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    limit = Limit(MemoryNetwork(nursery), trio.current_time() + 1)
    limit.expired = lambda: LateError("first step")

    async def take_steps() -> None:
        with limit:
            await trio.sleep(0.9)
            limit.scope.deadline = trio.current_time() + 5
            limit.expired = lambda: LateError("second step")
            await trio.sleep_forever()

    with pytest.raises(LateError, match="second step") as caught:
        await take_steps()
    assert trio.current_time() == 5.9
    assert caught.value.__suppress_context__


async def test_a_cleared_limit_bounds_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with Limit(MemoryNetwork(nursery), trio.current_time() + 1) as limit:
        limit.clear()
        await trio.sleep(1000)
    assert trio.current_time() == 1000


async def test_another_error_and_an_outer_cancellation_pass(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    with pytest.raises(KeyError), Limit(network, trio.current_time() + 1):
        raise KeyError
    with trio.move_on_after(1) as outer, Limit(network, trio.current_time() + 2):
        await trio.sleep_forever()
    assert outer.cancelled_caught
