"""A hop that dies: what is measured is there, and what is said of it is true."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import dying
from benchmarks.dying import FIRST, Effort, Run, run_once
from benchmarks.failover import SCENARIOS
from benchmarks.steady import Session

SHORT = Effort(rate=40, before=0.3, down=0.4, after=0.6, limit=2, hedge=0.1, rest=0.1, longest_rest=0.1)
KILLED, _, HEDGED = SCENARIOS


@pytest.mark.measure
@pytest.mark.parametrize("scenario", [KILLED, HEDGED], ids=lambda scenario: scenario.name)
def test_only_open_sessions_are_lost_and_the_hop_is_used_again(scenario: dying.Scenario, tmp_path: Path) -> None:
    run = run_once(scenario, SHORT, tmp_path)
    assert run.failed == []
    assert run.refusals == []
    assert run.died_at < run.alive_at
    assert run.back_after < math.inf

    def through(begin: float, end: float) -> set[str]:
        chosen = [(one, hop) for one, hop in run.sessions if not one.error and not run.was_open(one)]
        return {hop for one, hop in chosen if begin <= one.due < end}

    assert through(0, run.died_at) == {"first"}
    assert "second" in through(run.died_at, run.alive_at)
    assert "first" in through(run.alive_at + run.back_after, math.inf)


SESSIONS = [
    (Session(due=1.0, opened=1.1, ended=1.2), FIRST),
    (Session(due=1.9, opened=2.0, ended=2.5, error="closed"), FIRST),
    (Session(due=1.95, opened=2.1, ended=2.6, error="closed"), "second"),
    (Session(due=2.0, ended=2.2, error="refused"), ""),
    (Session(due=3.0, opened=3.1, ended=3.2), "second"),
    (Session(due=3.9, opened=4.2, ended=4.3), FIRST),
]


def test_who_was_cut_off_and_who_failed() -> None:
    run = Run(SESSIONS, died_at=2.05, alive_at=4.0)
    ones = [one for one, _ in SESSIONS]
    assert run.cut == [ones[1]]
    assert run.failed == [ones[2], ones[3]]
    assert [one for one in ones if run.was_open(one)] == [ones[1], ones[2], ones[3]]
    assert run.back_after == pytest.approx(0.2)
    assert Run(SESSIONS[:5], died_at=2.05, alive_at=4.0).back_after == math.inf


def test_a_session_that_began_through_a_dead_hop_has_failed() -> None:
    """Whatever the reply was: the hop was known to be dead, or should have been."""
    late = Session(due=2.1, opened=2.2, ended=2.3, error="closed")
    assert Run([(late, FIRST)], died_at=2.05, alive_at=4.0).failed == [late]


LOG = """\
2026-11-25 16:40:00,123 INFO listening on 127.1.2.3:1080
2026-11-25 16:40:01,123 INFO id=1 client=127.0.0.1:4001 command=CONNECT destination=127.0.0.1:7 chain=default \
hops=first reply=00 up=11 down=11 duration=0.002 outcome="finished"
2026-11-25 16:40:01,223 INFO id=2 client=127.0.0.1:4002 command=CONNECT destination=127.0.0.1:7 chain=default \
reply=01 up=0 down=0 duration=0.002 outcome="hop first (1 of 1), closed"
2026-11-25 16:40:01,323 INFO id=3 client=127.0.0.1:4001 command=CONNECT destination=127.0.0.1:7 chain=default \
hops=second reply=00 up=11 down=11 duration=0.002 outcome="finished"
2026-11-25 16:40:01,423 INFO id=4 client=127.0.0.1:4009 command=- destination=- chain=- reply=- up=0 down=0 \
duration=0.000 outcome="client, first byte: it left without a word"
""".splitlines()


def test_the_log_says_which_hop_a_session_went_through() -> None:
    """A port may be used again, by a later session."""
    sessions = [Session(0, client=client) for client in ("127.0.0.1:4001", "", "127.0.0.1:4001")]
    assert [hop for _, hop in dying.attribute(sessions, LOG)] == ["first", "", "second"]


def test_the_log_says_why_a_request_was_refused() -> None:
    assert dying.refusals(LOG) == ["hop first (1 of 1), closed"]
