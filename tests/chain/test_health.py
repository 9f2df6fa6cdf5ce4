"""What is remembered of hops."""

from __future__ import annotations

import logging
import math
import random

import pytest

from chainsocks.chain.health import JITTER, LOST_IN_A_ROW, Health
from chainsocks.chain.walk import CONNECT
from chainsocks.config.hops import Hop
from chainsocks.config.models import HealthSettings
from chainsocks.errors import DialError, HopProtocolError, Place
from chainsocks.protocol.handshake import State
from tests.hops import make_hop

PARIS, OSAKA = make_hop(1), make_hop(2)
SETTINGS = HealthSettings(rest=2, longest_rest=10, remeasure=60)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Middle(random.Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, SETTINGS, Middle())


def test_nobody_rests_before_it_has_failed(health: Health) -> None:
    assert not health.rests(PARIS)
    health.started([PARIS])
    health.dropped([PARIS])
    assert not health.rests(PARIS)


def test_each_failure_doubles_the_rest_up_to_the_longest(health: Health, clock: Clock) -> None:
    for rest in (2, 4, 8, 10, 10):
        health.started([PARIS])
        health.failed(PARIS, "refused")
        clock.time += rest - 0.001
        assert health.rests(PARIS)
        clock.time += 0.001
        assert not health.rests(PARIS)
    assert not health.rests(OSAKA)


def test_one_request_tries_a_hop_whose_rest_is_over(health: Health, clock: Clock) -> None:
    health.failed(PARIS, "refused")
    clock.time += 2
    health.started([PARIS])
    assert health.rests(PARIS), "somebody is at it"
    health.succeeded([PARIS], 0.1)
    assert not health.rests(PARIS)


def test_what_a_hop_has_kept_is_remembered(health: Health) -> None:
    health.kept([PARIS])
    health.failed(PARIS, "refused")
    assert health.keeps(PARIS)
    assert not health.keeps(OSAKA)


def test_a_trial_that_comes_to_nothing_lets_the_next_one_try(health: Health, clock: Clock) -> None:
    health.failed(PARIS, "refused")
    clock.time += 2
    health.started([PARIS])
    health.dropped([PARIS])
    assert not health.rests(PARIS)


def test_a_success_makes_all_good(health: Health, clock: Clock) -> None:
    for _ in range(3):
        health.failed(PARIS, "refused")
        clock.time += 100
    health.succeeded([PARIS], 0.1)
    health.failed(PARIS, "refused")
    clock.time += 2
    assert not health.rests(PARIS), "it is the first failure again"


def test_requests_that_fail_together_count_as_one_failure(health: Health, clock: Clock) -> None:
    for _ in range(50):
        health.failed(PARIS, "refused")
    clock.time += 2
    assert not health.rests(PARIS)


def test_rests_are_spread(clock: Clock) -> None:
    ends = []
    for seed in range(40):
        health = Health(clock, SETTINGS, random.Random(seed))
        health.failed(PARIS, "refused")
        began = clock.time
        while health.rests(PARIS):
            clock.time += 0.01
        ends.append(clock.time - began)
    assert 2 * (1 - JITTER) <= min(ends) < 1.7
    assert 2.3 < max(ends) <= 2 * (1 + JITTER) + 0.01


def test_dial_times_are_smoothed(health: Health) -> None:
    assert health.dial_time(PARIS) is None
    health.succeeded([PARIS], 1.0)
    assert health.dial_time(PARIS) == 1.0
    health.succeeded([PARIS], 2.0)
    assert health.dial_time(PARIS) == pytest.approx(1.3)


def test_a_measurement_is_good_for_a_while(health: Health, clock: Clock) -> None:
    assert health.wants_measuring(PARIS)
    health.started([PARIS])
    assert not health.wants_measuring(PARIS), "somebody is at it"
    health.succeeded([PARIS], 1.0)
    clock.time += 59.9
    assert not health.wants_measuring(PARIS)
    clock.time += 0.1
    assert health.wants_measuring(PARIS)


def test_whoever_loses_to_its_hedge_again_and_again_has_failed(health: Health) -> None:
    for _ in range(LOST_IN_A_ROW - 1):
        health.lost(PARIS)
    health.succeeded([PARIS], 0.1)
    for _ in range(LOST_IN_A_ROW - 1):
        health.lost(PARIS)
        assert not health.rests(PARIS)
    health.lost(PARIS)
    assert health.rests(PARIS)


def test_the_log_tells_when_a_hop_goes_and_comes(
    health: Health, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks.health")
    health.failed(PARIS, "connection refused")
    health.failed(PARIS, "connection refused")
    clock.time += 2
    health.succeeded([PARIS], 0.1)
    health.succeeded([PARIS], 0.1)
    assert caplog.messages == ["hop paris rests for 2.0 s: connection refused", "hop paris is back"]


# --- those that somebody watches


def failure(hop: Hop, step: str, at: Hop | None = None) -> DialError:
    """What a hop has failed with, as told by itself or by another one."""
    return HopProtocolError(Place((at or hop).name, (at or hop).address, step), "it broke off", elapsed=0, limit=1)


def test_a_watched_hop_is_tried_by_its_watcher_alone(health: Health, clock: Clock) -> None:
    fallen: list[float] = []
    with health.watching(PARIS, lambda: fallen.append(health.rest_ends(PARIS))):
        assert health.rest_ends(PARIS) == math.inf
        health.failed(PARIS, "refused")
        assert fallen == [clock.time + 2]
        clock.time += 3
        assert health.rests(PARIS)
        health.greeted(PARIS)
        assert not health.rests(PARIS)
        assert health.rest_ends(PARIS) == math.inf
        health.failed(PARIS, "refused")
    clock.time += 4
    assert not health.rests(PARIS), "nobody watches it any more"


@pytest.mark.parametrize("how", ["a dial", "a connect", "a greeting"])
def test_when_a_hop_was_last_proved_to_live(health: Health, clock: Clock, how: str) -> None:
    assert health.proved_at(PARIS) == -math.inf
    clock.time += 1
    if how == "a dial":
        health.succeeded([PARIS], 0.1)
    elif how == "a connect":
        health.connected([PARIS])
    else:
        health.greeted(PARIS)
    proved_at = clock.time
    clock.time += 1
    health.failed(PARIS, "refused")
    assert health.proved_at(PARIS) == proved_at


def test_only_requests_measure(health: Health) -> None:
    health.connected([PARIS])
    health.greeted(PARIS)
    assert health.dial_time(PARIS) is None
    assert health.wants_measuring(PARIS)


@pytest.mark.parametrize(
    ("why", "is_back"),
    [
        (failure(PARIS, CONNECT), True),
        (failure(PARIS, State.METHOD_NEGOTIATION), True),
        (failure(PARIS, State.SUB_NEGOTIATION), True),
        (failure(PARIS, State.REQUEST), False),
        (failure(PARIS, State.REQUEST, at=OSAKA), True),
        ("it was too slow", False),
    ],
    ids=["connect", "method", "login", "request", "another's request", "too slow"],
)
def test_a_greeting_ends_the_rest_of_who_would_not_have_taken_it(
    health: Health, clock: Clock, why: object, is_back: object
) -> None:
    health.failed(PARIS, why)
    health.greeted(PARIS)
    assert health.rests(PARIS) != is_back
    clock.time += 2
    health.greeted(PARIS)
    assert not health.rests(PARIS)


def test_a_greeting_does_not_make_the_next_rest_shorter(health: Health, clock: Clock) -> None:
    for rest in (2, 4, 8):
        health.failed(PARIS, "refused")
        clock.time += rest - 0.001
        assert health.rests(PARIS)
        clock.time += 0.001
        health.greeted(PARIS)
    health.connected([PARIS])
    health.failed(PARIS, "refused")
    clock.time += 2
    assert not health.rests(PARIS)
