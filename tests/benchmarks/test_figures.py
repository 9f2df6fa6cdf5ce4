from __future__ import annotations

import pytest

from benchmarks.figures import Figure, Results

RATE = Figure("GiB/s", 2, more_is_better=True)
COST = Figure("CPU s/GiB", 3)


@pytest.fixture
def results() -> Results:
    results = Results("ours")
    for rate, cost in ((2.0, 0.5), (9.0, 0.1), (4.0, 0.4)):
        results.add("ours", {RATE: rate, COST: cost})
    for rate, cost in ((1.0, 0.9), (3.0, 0.7)):
        results.add("theirs", {RATE: rate, COST: cost})
    results.add("slow", {RATE: 0.5, COST: 1.0})
    results.add("part", {RATE: 8.0})
    return results


def test_a_median_is_the_one_in_the_middle(results: Results) -> None:
    assert results.median(RATE, "ours") == 4.0
    assert results.median(COST, "ours") == 0.4
    assert results.median(RATE, "theirs") == 2.0, "or half way between the two that are"
    assert results.median(RATE, "slow") == 0.5


def test_a_ratio_is_theirs_by_ours_whatever_is_better(results: Results) -> None:
    assert results.ratio(RATE, "theirs") == pytest.approx(0.5)
    assert results.ratio(COST, "theirs") == pytest.approx(2.0)
    assert results.ratio(RATE, "ours") == 1.0


def test_what_was_not_measured_is_none(results: Results) -> None:
    assert results.median(COST, "part") is None
    assert results.ratio(COST, "part") is None
    assert results.median(RATE, "nobody") is None
    assert Results("ours").median(RATE, "ours") is None


def test_there_is_no_ratio_to_nothing() -> None:
    results = Results("ours")
    results.add("theirs", {RATE: 1.0})
    assert results.ratio(RATE, "theirs") is None
    results.add("ours", {RATE: 0.0})
    assert results.ratio(RATE, "theirs") is None
    results.add("theirs", {COST: 0.0})
    results.add("ours", {COST: 2.0})
    assert results.ratio(COST, "theirs") == 0.0, "nothing at all is as good as it gets"


def test_the_best_has_the_most_or_the_least(results: Results) -> None:
    everybody = ["ours", "theirs", "slow", "part"]
    assert results.best(RATE, everybody) == "part"
    assert results.best(COST, everybody) == "ours"
    assert results.best(RATE, ["slow", "theirs"]) == "theirs"
    assert results.best(COST, ["slow", "part"]) == "slow", "who was not measured is not the best"
    assert results.best(COST, ["part", "nobody"]) is None


def test_a_remark_is_made_once() -> None:
    results = Results("ours")
    for _ in range(2):
        results.remark("theirs", "skipped")
        results.remark("theirs", "and more")
    assert results.remarks == {"theirs": ["skipped", "and more"]}
    assert not results.failed


def test_a_failure_is_remembered_in_one_line() -> None:
    results = Results("ours")
    results.fail("theirs", "it does not listen:\nlast words\n")
    assert results.failed == {"theirs"}
    assert results.remarks == {"theirs": ["FAILED: it does not listen: last words"]}
