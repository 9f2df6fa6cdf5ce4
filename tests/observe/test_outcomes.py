"""The kinds of outcomes, of which some are failures."""

from __future__ import annotations

from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.relay.relay import Outcome


def test_a_refusal_and_a_client_that_leaves_are_no_failures() -> None:
    failures = {kind for kind in OutcomeKind if kind.is_failure}
    assert failures == {OutcomeKind.DIAL_FAILED, OutcomeKind.LOCAL_ERROR, OutcomeKind.BUG}


def test_each_outcome_of_a_relay_has_a_kind_of_its_own() -> None:
    assert len({outcome.kind for outcome in Outcome}) == len(Outcome)
