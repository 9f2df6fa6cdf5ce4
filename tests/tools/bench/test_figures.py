"""The figures, their names and units; and results, with medians and ratios."""

from __future__ import annotations

import re

import pytest

from chainsocks.tools.bench.figures import (
    COSTS,
    FIGURES,
    IDLE_MEMORY,
    LATENCIES,
    RATES,
    SESSION_COST,
    SESSION_RATE,
    Figure,
    Results,
)

KEYS = [
    *(f"bulk_{direction}_{streams}_bytes_per_second" for direction in ("up", "down", "both") for streams in (1, 8)),
    "echo_beside_8_bytes_per_second",
    *(f"bulk_{direction}_{streams}_cpu_seconds_per_gib" for direction in ("up", "down", "both") for streams in (1, 8)),
    "sessions_per_second",
    "session_cpu_seconds",
    "echo_p50_seconds",
    "echo_p99_seconds",
    "echo_beside_8_p50_seconds",
    "echo_beside_8_p99_seconds",
    "idle_session_bytes",
]


def test_the_names_are_a_promise() -> None:
    assert [figure.key for figure in FIGURES] == KEYS


def test_titles_are_for_people_and_told_apart() -> None:
    assert len({(figure.title, figure.unit) for figure in FIGURES}) == len(FIGURES)
    assert FIGURES[0].title == "bulk up, 1 stream"
    assert FIGURES[5].title == "bulk both ways, 8 streams"
    assert all(re.fullmatch(r"[a-z0-9 ,]+", figure.title) for figure in FIGURES)


def test_which_end_is_better() -> None:
    better = {figure.key for figure in FIGURES if figure.unit.more_is_better}
    assert better == {key for key in KEYS if key.endswith("per_second")}


@pytest.mark.parametrize(
    ("figure", "value", "shown", "unit"),
    [
        (RATES["up", 1], 3 << 20, 3, "MiB/s"),
        (COSTS["down", 8], 0.25, 250, "ms CPU/GiB"),
        (SESSION_RATE, 1234, 1234, "sessions/s"),
        (SESSION_COST, 0.0003, 300, "us CPU/session"),
        (LATENCIES[99, 8], 0.00015, 150, "us"),
        (IDLE_MEMORY, 9216, 9, "KiB/session"),
    ],
)
def test_units(figure: Figure, value: float, shown: float, unit: str) -> None:
    assert value * figure.unit.per == pytest.approx(shown)
    assert figure.unit.name == unit


RATE, COST = RATES["down", 1], COSTS["down", 1]


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


def test_medians(results: Results) -> None:
    assert results.median(RATE, "ours") == 4.0
    assert results.median(COST, "ours") == 0.4
    assert results.median(RATE, "theirs") == 2.0, "half way between the two in the middle"
    assert results.median(COST, "part") is None
    assert results.median(RATE, "nothing") is None
    assert Results("ours").median(RATE, "ours") is None


def test_a_ratio_is_theirs_by_ours_whatever_is_better(results: Results) -> None:
    assert results.ratio(RATE, "theirs") == pytest.approx(0.5)
    assert results.ratio(COST, "theirs") == pytest.approx(2.0)
    assert results.ratio(RATE, "ours") == 1.0
    assert results.ratio(COST, "part") is None


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
    names = ["ours", "theirs", "slow", "part"]
    assert results.best(RATE, names) == "part"
    assert results.best(COST, names) == "ours"
    assert results.best(RATE, ["slow", "theirs"]) == "theirs"
    assert results.best(COST, ["slow", "part"]) == "slow", "one that was not measured is not the best"
    assert results.best(COST, ["part", "nothing"]) is None


def test_a_note_is_made_once_and_a_failure_in_one_line() -> None:
    results = Results("ours")
    for _ in range(2):
        results.note("theirs", "skipped")
        results.note("theirs", "and more")
    assert not results.failed
    results.fail("odd", "it does not listen:\nlast words\n")
    assert results.failed == {"odd"}
    assert results.note_lines == ["theirs: skipped", "theirs: and more", "odd: FAILED: it does not listen: last words"]
