"""Permits: who gets one, in which order, and what a changed total does."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chainsocks.server.permits import Permits


class Queue:
    """Tasks that each wait for a permit and keep it; `served` has the numbers of those that have one, in order."""

    def __init__(self, permits: Permits, nursery: trio.Nursery) -> None:
        self.served: list[int] = []
        self._permits = permits
        self._nursery = nursery

    async def add(self, number: int, scope: trio.CancelScope | None = None) -> None:
        """Start a task, and let it get as far as it can."""

        async def acquire() -> None:
            with scope or trio.CancelScope():
                await self._permits.acquire()
                self.served.append(number)

        self._nursery.start_soon(acquire)
        await wait_all_tasks_blocked()


def taken_at_once(permits: Permits) -> int:
    count = 0
    while permits.try_acquire():
        count += 1
    return count


@pytest.mark.parametrize("total", [0, 1, 5])
def test_there_are_as_many_as_the_total_says(total: int) -> None:
    permits = Permits(total)
    assert taken_at_once(permits) == permits.taken == permits.total == total


async def test_a_released_permit_goes_to_the_first_waiter_and_to_no_later_task() -> None:
    permits = Permits(1)
    async with trio.open_nursery() as nursery:
        queue = Queue(permits, nursery)
        for number in range(3):
            await queue.add(number)
        for served in ([0], [0, 1], [0, 1, 2]):
            assert queue.served == served
            permits.release()
            assert permits.try_acquire() == (served == [0, 1, 2])
            await wait_all_tasks_blocked()
    assert permits.taken == 1


async def test_a_waiter_that_gives_up_takes_no_permit() -> None:
    permits = Permits(1)
    async with trio.open_nursery() as nursery:
        queue, scope = Queue(permits, nursery), trio.CancelScope()
        await queue.add(0)
        await queue.add(1, scope)
        await queue.add(2)
        scope.cancel()
        await wait_all_tasks_blocked()
        permits.release()
        await wait_all_tasks_blocked()
        assert queue.served == [0, 2]
        permits.release()
        assert permits.taken == 0


async def test_a_higher_total_lets_waiters_proceed() -> None:
    permits = Permits(1)
    async with trio.open_nursery() as nursery:
        queue = Queue(permits, nursery)
        for number in range(4):
            await queue.add(number)
        permits.total = 3
        await wait_all_tasks_blocked()
        assert (sorted(queue.served), permits.taken) == ([0, 1, 2], 3)  # trio runs a batch of tasks in any order
        nursery.cancel_scope.cancel()


async def test_a_lower_total_holds_once_enough_permits_were_released() -> None:
    permits = Permits(3)
    assert taken_at_once(permits) == 3
    async with trio.open_nursery() as nursery:
        permits.total = 1
        queue = Queue(permits, nursery)
        await queue.add(0)
        for left in (2, 1):
            permits.release()
            await wait_all_tasks_blocked()
            assert (permits.taken, permits.try_acquire(), queue.served) == (left, False, [])
        permits.release()
        await wait_all_tasks_blocked()
        assert (permits.taken, queue.served) == (1, [0])
