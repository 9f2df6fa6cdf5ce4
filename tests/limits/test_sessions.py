"""Limits of sessions: what counts for whom, and what a refusal says."""

from __future__ import annotations

import copy
import pickle

import pytest

from chainsocks.config.limits import Limit, Limits
from chainsocks.limits.sessions import LimitReached, SessionLimits
from chainsocks.protocol.messages import ReplyCode

A, B, CAROL, DAVE = "192.0.2.1", "192.0.2.2", "user carol", "user dave"


class Clock:
    """A clock that stands still until it is set."""

    time = 100.0

    def __call__(self) -> float:
        return self.time


def limits_of(limits: Limits, clock: Clock | None = None) -> SessionLimits:
    sessions = SessionLimits(clock or Clock())
    sessions.change(limits)
    return sessions


def enter(sessions: SessionLimits, *clients: tuple[str, str]) -> list[Limit | None]:
    """Have sessions begin; return what refuses each of them."""
    refusals = [sessions.enter(object(), *client) for client in clients]
    return [refusal.limit if refusal else None for refusal in refusals]


@pytest.mark.parametrize(
    ("limits", "clients", "refused"),
    [
        (Limits(), [(A, A)] * 3, [None] * 3),
        (Limits(sessions_per_client=2), [(A, A)] * 3, [None, None, Limit.SESSIONS_PER_CLIENT]),
        (Limits(sessions_per_client=1), [(A, A), (B, B)], [None, None]),
        (Limits(sessions_per_client=1), [(A, CAROL), (A, DAVE)], [None, Limit.SESSIONS_PER_CLIENT]),
        (Limits(sessions_per_client=1), [(A, CAROL), (B, CAROL)], [None, None]),
        (Limits(sessions_per_user=1), [(A, A), (A, A)], [None, None]),
        (Limits(sessions_per_user=1), [(A, CAROL), (B, CAROL)], [None, Limit.SESSIONS_PER_USER]),
        (Limits(sessions_per_user=1), [(A, CAROL), (A, DAVE)], [None, None]),
        (Limits(new_per_second=0.2), [(A, A), (A, A)], [None, Limit.NEW_PER_SECOND]),
        (Limits(new_per_second=0.2), [(A, CAROL), (B, CAROL)], [None, Limit.NEW_PER_SECOND]),
        (Limits(new_per_second=0.2), [(A, CAROL), (A, A)], [None, None]),
        (
            Limits(sessions_per_client=1, new_per_second=0.2),
            [(A, A), (A, A), (B, B), (B, B)],
            [None, Limit.SESSIONS_PER_CLIENT, None, Limit.SESSIONS_PER_CLIENT],
        ),
    ],
)
def test_what_is_refused(limits: Limits, clients: list[tuple[str, str]], refused: list[Limit | None]) -> None:
    assert enter(limits_of(limits), *clients) == refused


def test_a_session_that_ends_makes_room_for_another() -> None:
    sessions = limits_of(Limits(sessions_per_client=2, sessions_per_user=1))
    assert sessions.enter("one", A, CAROL) is None
    assert sessions.enter("two", A, DAVE) is None
    assert sessions.is_full(A)
    assert enter(sessions, (A, A), (B, CAROL)) == [Limit.SESSIONS_PER_CLIENT, Limit.SESSIONS_PER_USER]
    sessions.leave("one")
    assert not sessions.is_full(A)
    assert sessions.enter("three", A, CAROL) is None
    for name in ("two", "three"):
        sessions.leave(name)
    assert (sessions.counted, sessions._held) == ({}, {})


def test_a_session_counts_once() -> None:
    sessions = limits_of(Limits(sessions_per_client=1, new_per_second=0.2))
    assert sessions.enter("one", A, A) is None
    assert sessions.enter("one", A, A) is None
    sessions.leave("one")
    sessions.leave("one")
    assert not sessions.is_full(A)


def test_refusals_cost_neither_a_session_nor_a_token() -> None:
    clock = Clock()
    sessions = limits_of(Limits(sessions_per_client=1, new_per_second=0.2), clock)
    assert sessions.enter("one", A, A) is None
    clock.time += 5
    enter(sessions, *[(A, A)] * 100)
    sessions.leave("one")
    assert enter(sessions, (A, A)) == [None]


def test_other_limits_hold_at_once_for_what_began_before() -> None:
    sessions = limits_of(Limits(sessions_per_client=5))
    assert enter(sessions, (A, A), (A, A), (A, A)) == [None] * 3
    sessions.change(Limits(sessions_per_client=3))
    assert enter(sessions, (A, A)) == [Limit.SESSIONS_PER_CLIENT]
    sessions.change(Limits(new_per_second=0.2))
    assert enter(sessions, (A, A), (A, A)) == [None, Limit.NEW_PER_SECOND]
    sessions.change(Limits(new_per_second=1))
    assert enter(sessions, (A, A)) == [Limit.NEW_PER_SECOND], "what was used is remembered"
    sessions.change(Limits(bandwidth=1000))
    counted = len(sessions.counted)
    assert enter(sessions, *[(A, A)] * 10) == [None] * 10
    assert len(sessions.counted) == counted


@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_refusal_names_its_limit(copied: type[LimitReached]) -> None:
    refusal = copied(LimitReached(Limit.NEW_PER_SECOND, 0.5))  # type: ignore[call-arg,arg-type]
    assert str(refusal) == "new_per_second (0.5) is reached"
    assert (refusal.limit, refusal.reply_code) == (Limit.NEW_PER_SECOND, ReplyCode.NOT_ALLOWED_BY_RULESET)
    assert not refusal.is_failure
