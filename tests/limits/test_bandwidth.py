"""Bandwidth in turns: the rate, what is fair, and what is remembered of users; with waiters that only count."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.config.limits import Limit
from chainsocks.limits.bandwidth import BURST, LARGEST_TURN, SMALLEST_TURN, TICK, Bandwidth, Share
from chainsocks.limits.board import Board

RATE = 1_000_000


@asynccontextmanager
async def serving(total: float | None, per_user: float | None = None) -> AsyncIterator[Bandwidth]:
    counted: list[Limit] = []
    bandwidth = Bandwidth(trio.current_time, counted.append)
    bandwidth.change(total, per_user)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bandwidth.run)
        yield bandwidth
        nursery.cancel_scope.cancel()


class Hungry:
    """A direction that always has more to move, at most `most` bytes in a turn."""

    def __init__(self, share: Share | None, most: float = math.inf) -> None:
        assert share
        self.share = share
        self.most = most
        self.moved = 0
        self.share.wait(self)

    def resume(self) -> None:
        size = int(min(self.share.turn, self.most))
        self.moved += size
        self.share.spend(size)
        self.share.wait(self)


def about(size: float, slack: float = 0.05) -> object:
    return pytest.approx(size, rel=slack)


@pytest.mark.parametrize("rate", [1000, 10_000, RATE, 100 * RATE, 5000 * RATE])
async def test_no_more_than_the_rate_and_no_less(autojump_clock: MockClock, rate: int) -> None:
    async with serving(rate) as bandwidth:
        one = Hungry(bandwidth.share_of("a"))
        await trio.sleep(20 if rate < RATE else 1)
        before = one.moved
        seconds = 60 if rate < RATE else 5
        await trio.sleep(seconds)
        assert one.moved - before == about(rate * seconds)


async def test_users_have_equal_parts_however_many_connections_they_have(autojump_clock: MockClock) -> None:
    async with serving(RATE) as bandwidth:
        many = [Hungry(bandwidth.share_of("a")) for _ in range(19)]
        one = Hungry(bandwidth.share_of("b"))
        await trio.sleep(40)
        assert one.moved == about(20 * RATE)
        assert [each.moved for each in many] == [about(20 * RATE / 19)] * 19


async def test_what_a_user_leaves_goes_to_the_others(autojump_clock: MockClock) -> None:
    async with serving(RATE) as bandwidth:
        slow, fast = Hungry(bandwidth.share_of("a"), most=2000), Hungry(bandwidth.share_of("b"))
        await trio.sleep(20)
        assert slow.moved + fast.moved == about(20 * RATE)
        assert slow.moved == about(fast.moved / 10)


async def test_a_limit_for_each_user(autojump_clock: MockClock) -> None:
    async with serving(None, RATE) as bandwidth:
        two = [Hungry(bandwidth.share_of("a")) for _ in range(2)]
        other = Hungry(bandwidth.share_of("b"))
        await trio.sleep(20)
        assert sum(each.moved for each in two) == about(20 * RATE)
        assert other.moved == about(20 * RATE)


async def test_both_limits(autojump_clock: MockClock) -> None:
    async with serving(3 * RATE, RATE) as bandwidth:
        users = [Hungry(bandwidth.share_of(name)) for name in "abcdef"]
        await trio.sleep(20)
        assert [each.moved for each in users] == [about(10 * RATE)] * 6
        for each in users[2:]:
            each.share.forget(each)
            each.share.spend(-each.share.turn)
        before = users[0].moved
        await trio.sleep(20)
        assert users[0].moved - before == about(20 * RATE)


async def test_a_pause_is_worth_a_burst_and_no_more(autojump_clock: MockClock) -> None:
    async with serving(RATE) as bandwidth:
        await trio.sleep(1000)
        one = Hungry(bandwidth.share_of("a"))
        await trio.sleep(TICK / 2)
        assert one.moved <= 2 * BURST * RATE + one.share.turn


async def test_nothing_waits_while_there_is_enough(autojump_clock: MockClock) -> None:
    async with serving(RATE, RATE) as bandwidth:
        share = bandwidth.share_of("a")
        assert share
        for _ in range(100):
            assert share.may_move
            share.spend(5000)
            await trio.sleep(0.01)
        share.spend(RATE)
        assert not share.may_move
        await trio.sleep(1.1)
        assert share.may_move


async def test_who_waits_is_before_who_comes(autojump_clock: MockClock) -> None:
    async with serving(RATE) as bandwidth:
        waiting, coming = Hungry(bandwidth.share_of("a")), bandwidth.share_of("b")
        assert coming
        await wait_all_tasks_blocked()
        for _ in range(100):
            assert not coming.may_move
            await trio.sleep(0.003)
        waiting.share.forget(waiting)
        await trio.sleep(1)
        assert coming.may_move


async def test_tasks_wait_for_their_turns(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with serving(RATE) as bandwidth:
        share = bandwidth.share_of("a")
        assert share
        times = []

        async def move() -> None:
            while True:
                await share.wait_for_turn()
                share.spend(RATE)  # at once, as no task should
                times.append(trio.current_time())

        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(move)
            await trio.sleep(9.5)
            tasks.cancel_scope.cancel()
        assert times == [pytest.approx(number, abs=BURST + 2 * TICK) for number in range(10)]
        assert not share.waiting


async def test_other_limits_hold_at_once(autojump_clock: MockClock) -> None:
    async with serving(RATE) as bandwidth:
        one = Hungry(bandwidth.share_of("a"))
        await trio.sleep(10)
        bandwidth.change(2 * RATE, None)
        before = one.moved
        await trio.sleep(10)
        assert one.moved - before == about(20 * RATE)
        bandwidth.change(2 * RATE, RATE // 10)
        before = one.moved
        await trio.sleep(10)
        assert one.moved - before == about(RATE, 0.1)
        one.share.forget(one)
        bandwidth.change(None, None)
        assert bandwidth.share_of("b") is None
        one.share.spend(1000 * RATE)
        assert one.share.may_move


@pytest.mark.parametrize(
    ("total", "per_user", "turn"),
    [(1000, None, SMALLEST_TURN), (RATE, None, 20_000), (100 * RATE, RATE, 20_000), (10**12, None, LARGEST_TURN)],
)
def test_turns_are_as_long_as_the_rate_is_high(total: float, per_user: float | None, turn: int) -> None:
    bandwidth = Bandwidth(lambda: 0.0, lambda _: None)
    bandwidth.change(total, per_user)
    assert bandwidth.turn == turn


async def test_users_are_forgotten_once_their_limit_is_as_new(autojump_clock: MockClock) -> None:
    bandwidth = Bandwidth(trio.current_time, lambda _: None)
    bandwidth.change(None, RATE)
    spender, idle = bandwidth.share_of("spender"), bandwidth.share_of("idle")
    assert spender
    assert idle
    spender.spend(10 * RATE)
    for share in (spender, idle):
        share.close()
    again = bandwidth.share_of("spender")
    assert again is spender, "what it owes is not forgotten with its connection"
    assert not again.may_move
    again.close()
    await trio.sleep(20)
    for number in range(100):
        other = bandwidth.share_of(str(number))
        assert other
        other.close()
    assert len(bandwidth) <= 2


async def test_waits_are_counted(autojump_clock: MockClock) -> None:
    counted: list[Limit] = []
    bandwidth = Bandwidth(trio.current_time, counted.append)
    bandwidth.change(RATE, RATE)
    Hungry(bandwidth.share_of("a"))
    bandwidth.change(RATE, RATE / 2)
    share = bandwidth.share_of("b")
    assert share
    share.spend(RATE)
    Hungry(share)
    assert counted == [Limit.BANDWIDTH, Limit.BANDWIDTH_PER_USER]


async def test_workers_have_the_part_that_their_users_need(autojump_clock: MockClock) -> None:
    board = Board()
    workers = [Bandwidth(trio.current_time, lambda _: None, board.column(board.take_column() or 0)) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for each in workers:
            each.change(RATE, None)
            nursery.start_soon(each.run)
        one = Hungry(workers[0].share_of("a"))
        await trio.sleep(10)
        assert one.moved == about(10 * RATE)
        others = [Hungry(workers[1].share_of(name)) for name in "bcd"]
        await trio.sleep(1)
        before = one.moved, sum(each.moved for each in others)
        await trio.sleep(40)
        assert one.moved - before[0] == about(10 * RATE)
        assert sum(each.moved for each in others) - before[1] == about(30 * RATE)
        nursery.cancel_scope.cancel()


async def test_a_user_of_several_workers_has_no_more_than_others(autojump_clock: MockClock) -> None:
    board = Board()
    workers = [Bandwidth(trio.current_time, lambda _: None, board.column(board.take_column() or 0)) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for each in workers:
            each.change(RATE, None)
            nursery.start_soon(each.run)
        everywhere = [Hungry(each.share_of("a")) for each in workers]
        others = [Hungry(workers[0].share_of("b")), Hungry(workers[1].share_of("c"))]
        await trio.sleep(1)
        before = [hungry.moved for hungry in (*everywhere, *others)]
        await trio.sleep(30)
        moved = [hungry.moved - then for hungry, then in zip((*everywhere, *others), before, strict=True)]
        assert moved == [about(5 * RATE), about(5 * RATE), about(10 * RATE), about(10 * RATE)]
        nursery.cancel_scope.cancel()


async def test_the_limit_of_a_user_is_for_all_workers(autojump_clock: MockClock) -> None:
    board = Board()
    workers = [Bandwidth(trio.current_time, lambda _: None, board.column(board.take_column() or 0)) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for each in workers:
            each.change(None, RATE)
            nursery.start_soon(each.run)
        user = [Hungry(each.share_of("a")) for each in workers]
        other = Hungry(workers[0].share_of("b"))
        await trio.sleep(1)
        before = [hungry.moved for hungry in (*user, other)]
        await trio.sleep(20)
        moved = [hungry.moved - then for hungry, then in zip((*user, other), before, strict=True)]
        assert moved == [about(10 * RATE), about(10 * RATE), about(20 * RATE)]
        for hungry in user:
            hungry.share.forget(hungry)
            hungry.share.close()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [board.column(5).of_others(f"\0user {name}") for name in "ab"] == [0, 1]
