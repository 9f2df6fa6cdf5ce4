"""Hop health: backoff, trials and dial times."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import replace

import pytest

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.chain.health import JITTER, LOST_IN_A_ROW, Health
from chainsocks.config.models import HealthSettings
from chainsocks.protocol.messages import UsernamePassword
from tests.hops import make_hop

PARIS, OSAKA = make_hop(1), make_hop(2)
FAILED = Suspect(PARIS, FailedAt.REQUEST)
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


def test_no_hop_is_in_backoff_before_it_has_failed(health: Health) -> None:
    assert not health.in_backoff(PARIS)
    health.record_start([PARIS])
    health.release_trial([PARIS])
    assert not health.in_backoff(PARIS)


def test_a_hop_rests_until_it_is_woken_whatever_it_does(health: Health, clock: Clock) -> None:
    health.rest(PARIS)
    clock.time += 100
    health.rest(PARIS)
    health.record_success([PARIS], 1.0)
    assert health.in_backoff(PARIS)
    assert not health.in_backoff(OSAKA)
    assert health.outlook(PARIS).rested_since == 1000
    health.change(SETTINGS, [PARIS])
    assert health.in_backoff(PARIS)
    health.wake(PARIS)
    assert not health.in_backoff(PARIS)
    health.rest(PARIS)
    health.change(SETTINGS, [OSAKA])
    assert not health.in_backoff(PARIS)


def test_waking_ends_a_backoff(health: Health, clock: Clock) -> None:
    health.record_failure(FAILED, "refused")
    clock.time += 1
    outlook = health.outlook(PARIS)
    assert (outlook.failed_since, outlook.failures, outlook.why, outlook.retry) == (1000, 1, "refused", 1002)
    health.wake(PARIS)
    assert not health.in_backoff(PARIS)
    assert health.outlook(PARIS).failed_since is None


def test_a_backoff_lasts_since_the_first_failure_of_those_in_a_row(health: Health, clock: Clock) -> None:
    for why in ("refused", "silent"):
        health.record_failure(FAILED, why)
        clock.time += 2
        health.record_start([PARIS])
    outlook = health.outlook(PARIS)
    assert (outlook.failed_since, outlook.failures, outlook.why) == (1000, 2, "silent")


def test_each_failure_doubles_the_backoff_up_to_the_longest(health: Health, clock: Clock) -> None:
    for backoff in (2, 4, 8, 10, 10):
        health.record_start([PARIS])
        health.record_failure(FAILED, "refused")
        clock.time += backoff - 0.001
        assert health.in_backoff(PARIS)
        clock.time += 0.001
        assert not health.in_backoff(PARIS)
    assert not health.in_backoff(OSAKA)


def test_one_request_tries_a_hop_after_its_backoff(health: Health, clock: Clock) -> None:
    health.record_failure(FAILED, "refused")
    clock.time += 2
    health.record_start([PARIS])
    assert health.in_backoff(PARIS), "a request is trying it"
    health.record_success([PARIS], 0.1)
    assert not health.in_backoff(PARIS)


def test_pipelining_support_is_remembered(health: Health) -> None:
    health.record_pipelining([PARIS])
    health.record_failure(FAILED, "refused")
    assert health.supports_pipelining(PARIS)
    assert not health.supports_pipelining(OSAKA)


def test_a_trial_without_a_result_leaves_the_hop_to_the_next_request(health: Health, clock: Clock) -> None:
    health.record_failure(FAILED, "refused")
    clock.time += 2
    health.record_start([PARIS])
    health.release_trial([PARIS])
    assert not health.in_backoff(PARIS)


def test_a_success_forgets_the_failures(health: Health, clock: Clock) -> None:
    for _ in range(3):
        health.record_failure(FAILED, "refused")
        clock.time += 100
    health.record_success([PARIS], 0.1)
    health.record_failure(FAILED, "refused")
    clock.time += 2
    assert not health.in_backoff(PARIS), "it is the first failure again"


def test_requests_that_fail_together_count_as_one_failure(health: Health, clock: Clock) -> None:
    for _ in range(50):
        health.record_failure(FAILED, "refused")
    clock.time += 2
    assert not health.in_backoff(PARIS)


def test_backoffs_are_spread(clock: Clock) -> None:
    ends = []
    for seed in range(40):
        health = Health(clock, SETTINGS, random.Random(seed))
        health.record_failure(FAILED, "refused")
        began = clock.time
        while health.in_backoff(PARIS):
            clock.time += 0.01
        ends.append(clock.time - began)
    assert 2 * (1 - JITTER) <= min(ends) < 1.7
    assert 2.3 < max(ends) <= 2 * (1 + JITTER) + 0.01


def test_dial_times_are_smoothed(health: Health) -> None:
    assert health.dial_time(PARIS) is None
    health.record_success([PARIS], 1.0)
    assert health.dial_time(PARIS) == 1.0
    health.record_success([PARIS], 2.0)
    assert health.dial_time(PARIS) == pytest.approx(1.3)


def test_a_measurement_is_good_for_a_while(health: Health, clock: Clock) -> None:
    assert health.wants_measuring(PARIS)
    health.record_start([PARIS])
    assert not health.wants_measuring(PARIS), "a request is trying it"
    health.record_success([PARIS], 1.0)
    clock.time += 59.9
    assert not health.wants_measuring(PARIS)
    clock.time += 0.1
    assert health.wants_measuring(PARIS)


def test_a_hop_that_loses_to_its_hedge_again_and_again_has_failed(health: Health) -> None:
    for _ in range(LOST_IN_A_ROW - 1):
        health.record_hedge_loss(PARIS)
    health.record_success([PARIS], 0.1)
    for _ in range(LOST_IN_A_ROW - 1):
        health.record_hedge_loss(PARIS)
        assert not health.in_backoff(PARIS)
    health.record_hedge_loss(PARIS)
    assert health.in_backoff(PARIS)


def test_the_log_tells_when_a_hop_goes_and_comes(
    health: Health, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks.health")
    health.record_failure(FAILED, "connection refused")
    health.record_failure(FAILED, "connection refused")
    clock.time += 2
    health.record_success([PARIS], 0.1)
    health.record_success([PARIS], 0.1)
    assert caplog.messages == ["hop paris in backoff for 2.0 s: connection refused", "hop paris is back"]


# --- hops with a health check


def test_a_hop_with_a_health_check_is_tried_by_that_alone(health: Health, clock: Clock) -> None:
    down: list[float] = []
    login = Suspect(PARIS, FailedAt.LOGIN)
    with health.checking(PARIS, lambda: down.append(health.backoff_ends(PARIS))):
        assert health.backoff_ends(PARIS) == math.inf
        health.record_failure(login, "refused")
        assert down == [clock.time + 2]
        clock.time += 3
        assert health.in_backoff(PARIS)
        health.record_greeting(PARIS)
        assert not health.in_backoff(PARIS)
        assert health.backoff_ends(PARIS) == math.inf
        health.record_failure(login, "refused")
    clock.time += 4
    assert not health.in_backoff(PARIS), "its health check has ended"


def test_a_greeting_cannot_try_a_hop_that_failed_at_a_request(health: Health, clock: Clock) -> None:
    with health.checking(PARIS, lambda: None):
        health.record_failure(FAILED, "refused")
        clock.time += 2
        health.record_greeting(PARIS)
        assert not health.in_backoff(PARIS), "the backoff is over, and a request may try it"
        health.record_start([PARIS])
        health.record_greeting(PARIS)
        assert health.in_backoff(PARIS), "one request at a time, whatever it says to a greeting"


def test_a_check_with_a_target_tries_it(health: Health, clock: Clock) -> None:
    with health.checking(PARIS, lambda: None, lambda: None):
        health.record_failure(FAILED, "refused")
        clock.time += 100
        assert health.in_backoff(PARIS)
        health.record_greeting(PARIS)
        assert health.in_backoff(PARIS)
        health.record_connects([PARIS])
        assert not health.in_backoff(PARIS)


@pytest.mark.parametrize("how", ["a dial", "a connect", "a greeting"])
def test_the_last_success_of_a_hop(health: Health, clock: Clock, how: str) -> None:
    assert health.last_success(PARIS) == -math.inf
    clock.time += 1
    if how == "a dial":
        health.record_success([PARIS], 0.1)
    elif how == "a connect":
        health.record_connects([PARIS])
    else:
        health.record_greeting(PARIS)
    last_success = clock.time
    clock.time += 1
    health.record_failure(FAILED, "refused")
    assert health.last_success(PARIS) == last_success


def test_only_requests_measure(health: Health) -> None:
    health.record_connects([PARIS])
    health.record_greeting(PARIS)
    assert health.dial_time(PARIS) is None
    assert health.wants_measuring(PARIS)


@pytest.mark.parametrize(
    ("at", "is_back"), [(FailedAt.CONNECT, True), (FailedAt.LOGIN, True), (FailedAt.REQUEST, False)]
)
def test_a_greeting_ends_the_backoff_of_a_hop_that_failed_before_its_request(
    health: Health, clock: Clock, at: FailedAt, is_back: object
) -> None:
    health.record_failure(Suspect(PARIS, at), "it broke off")
    health.record_greeting(PARIS)
    assert health.in_backoff(PARIS) != is_back
    clock.time += 2
    health.record_greeting(PARIS)
    assert not health.in_backoff(PARIS)


def test_a_greeting_does_not_make_the_next_backoff_shorter(health: Health, clock: Clock) -> None:
    for backoff in (2, 4, 8):
        health.record_failure(FAILED, "refused")
        clock.time += backoff - 0.001
        assert health.in_backoff(PARIS)
        clock.time += 0.001
        health.record_greeting(PARIS)
    health.record_connects([PARIS])
    health.record_failure(FAILED, "refused")
    clock.time += 2
    assert not health.in_backoff(PARIS)


# --- several hops at one address


OTHER_LOGIN = replace(PARIS, name="other login", credentials=UsernamePassword(b"carol", b"pw2"))
UNREACHABLE = Suspect(PARIS, FailedAt.CONNECT)


def test_a_failed_connection_counts_for_all_hops_at_the_address(health: Health, clock: Clock) -> None:
    health.record_failure(UNREACHABLE, "connection refused")
    assert health.in_backoff(OTHER_LOGIN)
    assert health.backoff_ends(OTHER_LOGIN) == clock.time + 2
    assert not health.in_backoff(OSAKA)
    clock.time += 2
    health.record_start([OTHER_LOGIN])
    assert health.in_backoff(PARIS), "the other one is trying the address"
    health.record_success([OTHER_LOGIN], 0.1)
    assert not health.in_backoff(PARIS)


@pytest.mark.parametrize("at", [FailedAt.LOGIN, FailedAt.REQUEST])
def test_a_later_failure_counts_for_one_login(health: Health, at: FailedAt) -> None:
    health.record_failure(Suspect(PARIS, at), "refused")
    assert health.in_backoff(PARIS)
    assert not health.in_backoff(OTHER_LOGIN)


def test_a_later_failure_ends_the_backoff_of_the_address(health: Health) -> None:
    health.record_failure(UNREACHABLE, "connection refused")
    health.record_failure(Suspect(PARIS, FailedAt.LOGIN), "refused")
    assert health.in_backoff(PARIS)
    assert not health.in_backoff(OTHER_LOGIN)


def test_a_greeting_ends_the_backoff_of_the_address_alone(health: Health, clock: Clock) -> None:
    health.record_failure(FAILED, "it broke off")
    health.record_failure(UNREACHABLE, "connection refused")
    health.record_greeting(PARIS)
    assert health.in_backoff(PARIS)
    assert not health.in_backoff(OTHER_LOGIN)
    assert health.last_success(PARIS) == -math.inf


def test_all_checks_of_an_address_learn_that_it_is_down(health: Health) -> None:
    down: list[str] = []
    with (
        health.checking(PARIS, lambda: down.append("paris")),
        health.checking(OTHER_LOGIN, lambda: down.append("other login")),
        health.checking(OSAKA, lambda: down.append("osaka")),
    ):
        health.record_failure(UNREACHABLE, "connection refused")
        assert down == ["paris", "other login"]
        health.record_failure(Suspect(OTHER_LOGIN, FailedAt.LOGIN), "refused")
        assert down == ["paris", "other login", "other login"]


def test_the_log_has_the_name_of_the_hop_that_failed(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks.health")
    health.record_failure(UNREACHABLE, "connection refused")
    health.record_success([OTHER_LOGIN], 0.1)
    assert caplog.messages == ["hop paris in backoff for 2.0 s: connection refused", "hop paris is back"]


def test_a_failure_starts_the_count_of_lost_hedges_anew(health: Health, clock: Clock) -> None:
    for _ in range(LOST_IN_A_ROW - 1):
        health.record_hedge_loss(PARIS)
    health.record_failure(FAILED, "it broke off")
    clock.time += 2
    for _ in range(LOST_IN_A_ROW - 1):
        health.record_hedge_loss(PARIS)
        assert not health.in_backoff(PARIS)


def test_hops_that_stay_are_remembered_and_others_forgotten(health: Health, clock: Clock) -> None:
    for hop, at in ((PARIS, FailedAt.REQUEST), (OSAKA, FailedAt.CONNECT)):
        health.record_pipelining([hop])
        health.record_success([hop], 0.5)
        health.record_failure(Suspect(hop, at), "refused")
    renamed = replace(PARIS, name="another name for it")
    health.change(SETTINGS, [renamed, make_hop(3)])
    assert [health.in_backoff(hop) for hop in (renamed, OSAKA)] == [True, False]
    assert [health.dial_time(hop) for hop in (renamed, OSAKA)] == [0.5, None]
    assert [health.supports_pipelining(hop) for hop in (renamed, OSAKA)] == [True, False]


def test_other_settings_hold_from_the_next_failure_on(health: Health, clock: Clock) -> None:
    health.record_failure(FAILED, "refused")
    health.change(HealthSettings(rest=50, longest_rest=50), [PARIS])
    assert health.backoff_ends(PARIS) == clock.time + 2
    clock.time += 2
    health.record_failure(FAILED, "refused")
    assert health.backoff_ends(PARIS) == clock.time + 50
