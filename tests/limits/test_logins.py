"""Delays after wrong logins: how they grow, how they are forgiven, and who waits."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.limits import logins
from chainsocks.limits.logins import FORGIVEN, LONGEST, WAITING, FailedLogins, LoginDelayed

A, B = "192.0.2.1", "192.0.2.2"


class Guesses:
    """Wrong and right logins, and when they were checked."""

    def __init__(self, most: int) -> None:
        self.delayed = 0
        self.failed = FailedLogins(trio.current_time, most, self.count)
        self.checked: list[float] = []

    def count(self) -> None:
        self.delayed += 1

    async def guess(
        self, address: str = A, *, right: bool = False, takes: float = 0, latest: float = math.inf
    ) -> float | None:
        """Log in; return when that was checked, None for not at all."""
        try:
            async with self.failed.turn(address, latest) as turn:
                at = trio.current_time()
                self.checked.append(at)
                await trio.sleep(takes)
                turn.is_wrong = not right
                return at
        except LoginDelayed:
            return None


async def test_the_delay_grows(autojump_clock: MockClock) -> None:
    guesses = Guesses(3)
    times = [await guesses.guess() or 0.0 for _ in range(13)]
    assert [later - earlier for earlier, later in pairwise(times)] == [
        0, 0, 1, 2, 4, 8, 16, 32, LONGEST, LONGEST, LONGEST, LONGEST,
    ]  # fmt: skip
    assert guesses.delayed == 10


async def test_another_address_is_not_delayed(autojump_clock: MockClock) -> None:
    guesses = Guesses(1)
    for _ in range(4):
        await guesses.guess()
    before = trio.current_time()
    assert await guesses.guess(B) == before


async def test_a_right_login_forgives_nothing_and_costs_nothing(autojump_clock: MockClock) -> None:
    guesses = Guesses(2)
    times = [await guesses.guess(right=right) for right in (False, True, False, True, True, False, True)]
    assert times == [0, 0, 0, 1, 1, 1, 3]


async def test_wrong_logins_are_forgiven_one_by_one(autojump_clock: MockClock) -> None:
    guesses = Guesses(2)
    for _ in range(3):
        await guesses.guess()
    await trio.sleep(2 * FORGIVEN)
    before = trio.current_time()
    assert [await guesses.guess() for _ in range(3)] == [before, before + 1, before + 3]
    await trio.sleep(100 * FORGIVEN)
    await guesses.guess(B, right=True)
    assert len(guesses.failed) == 0


@pytest.mark.parametrize(("latest", "is_checked"), [(10.9, False), (11.0, True)])
async def test_a_login_without_the_time_for_its_delay_is_refused_at_once(
    autojump_clock: MockClock, latest: float, *, is_checked: bool
) -> None:
    guesses = Guesses(1)
    await trio.sleep(10)
    await guesses.guess()
    assert (await guesses.guess(latest=latest) is not None) is is_checked
    assert trio.current_time() == (11 if is_checked else 10)


async def test_delayed_logins_are_checked_one_at_a_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    guesses = Guesses(1)
    await guesses.guess()
    refused = []

    async def guess() -> None:
        if await guesses.guess(takes=0.5) is None:
            refused.append(trio.current_time())

    for _ in range(WAITING + 5):
        nursery.start_soon(guess)
    await wait_all_tasks_blocked()
    assert refused == [0] * 5
    await trio.sleep(1000)
    assert guesses.checked == [0, 1, 3.5, 8, 16.5, 33, 65.5, 126, 186.5]


async def test_guesses_at_once_are_no_more_than_may_be_wrong(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    guesses = Guesses(3)
    for _ in range(10):
        nursery.start_soon(guesses.guess, A)
    await wait_all_tasks_blocked()
    await trio.sleep(0.9)
    assert guesses.checked == [0, 0, 0]


async def test_right_logins_at_once_are_all_checked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    guesses = Guesses(3)

    async def log_in() -> None:
        await guesses.guess(right=True, takes=1)

    for _ in range(100):
        nursery.start_soon(log_in)
    await trio.sleep(50)
    assert len(guesses.checked) == 100
    assert guesses.delayed == 0
    assert len(guesses.failed) == 0


async def test_a_client_that_leaves_is_no_wrong_login(autojump_clock: MockClock) -> None:
    guesses = Guesses(1)
    with trio.move_on_after(1):
        await guesses.guess(takes=10)
    assert await guesses.guess() == 1
    with trio.move_on_after(0.1):
        await guesses.guess()
    assert await guesses.guess() == 2


async def test_memory_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST", 10)
    guesses = Guesses(1)
    for number in range(100):
        await guesses.guess(str(number))
    assert len(guesses.failed) == 10
    before = trio.current_time()
    assert await guesses.guess("99", latest=before) is None
    assert await guesses.guess("5", latest=before) == before
