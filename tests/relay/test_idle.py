"""The idle timer: when the deadline of its scope is moved, and how far."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pytest
import trio
from trio.testing import MockClock

from chainsocks.relay.idle import restart, touch


@dataclass
class Scope:
    """Something with a deadline."""

    deadline: float = inf


@pytest.mark.parametrize(
    ("moves", "deadline"),
    [
        pytest.param([], 90, id="nothing moves"),
        pytest.param([1, 5, 9.9], 90, id="moves within an eighth of the limit cost nothing"),
        pytest.param([10], 100, id="after an eighth it starts anew"),
        pytest.param([9, 40, 49], 130, id="the eighth is counted from the last new start"),
        pytest.param([40, 50, 85], 175, id="again and again"),
    ],
)
async def test_it_is_as_long_as_its_limit_and_at_most_an_eighth_longer(
    autojump_clock: MockClock, moves: list[float], deadline: float
) -> None:
    scope = Scope()
    restart(scope, 80, trio.current_time())
    for when in moves:
        await trio.sleep_until(when)
        touch(scope, 80, trio.current_time())
    assert scope.deadline == deadline


async def test_without_a_limit_there_is_no_deadline(autojump_clock: MockClock) -> None:
    scope = Scope()
    restart(scope, inf, trio.current_time())
    touch(scope, inf, trio.current_time())
    assert scope.deadline == inf
