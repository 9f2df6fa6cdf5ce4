from __future__ import annotations

import pytest

from benchmarks.figures import Figure, Results
from benchmarks.tables import render_markdown, render_text

RATE = Figure("GiB/s", 2, more_is_better=True)
COST = Figure("us", 0)


@pytest.fixture
def results() -> Results:
    results = Results("ours")
    results.add("go", {RATE: 1.0, COST: 84.4})
    results.add("ours", {RATE: 2.0, COST: 120.0})
    results.add("C loop", {RATE: 4.0})
    results.add("slow", {RATE: 0.5, COST: 360.0})
    results.remark("dante", "skipped, there is no danted here")
    results.fail("odd", "it broke")
    return results


def test_the_text_lines_up(results: Results) -> None:
    assert render_text(results, ["ours", "go", "slow"]).splitlines() == [
        "            GiB/s (more is better)  us (less is better)",
        "ours        2.00                    120",
        "go          1.00 (0.50 x)           84 (0.70 x)",
        "C loop      4.00 (2.00 x)           -",
        "slow        0.50 (0.25 x)           360 (3.00 x)",
        "best other  go                      go",
        "dante: skipped, there is no danted here",
        "odd: FAILED: it broke",
    ]


def test_markdown_says_the_same(results: Results) -> None:
    assert render_markdown(results, ["ours", "go", "slow"]).splitlines() == [
        "|  | GiB/s (more is better) | us (less is better) |",
        "| --- | ---: | ---: |",
        "| ours | 2.00 | 120 |",
        "| go | 1.00 (0.50 x) | 84 (0.70 x) |",
        "| C loop | 4.00 (2.00 x) | - |",
        "| slow | 0.50 (0.25 x) | 360 (3.00 x) |",
        "| best other | go | go |",
        "",
        "- dante: skipped, there is no danted here",
        "- odd: FAILED: it broke",
    ]


def test_without_rivals_nobody_is_the_best(results: Results) -> None:
    assert "best" not in render_text(results, ["ours"])


def test_a_rival_without_a_number_is_not_the_best() -> None:
    results = Results("ours")
    results.add("ours", {RATE: 1.0, COST: 1.0})
    results.add("go", {RATE: 1.0})
    assert render_text(results, ["go"]).splitlines()[-1].split() == ["best", "other", "go", "-"]


def test_nothing_measured_is_no_error() -> None:
    results = Results("ours")
    results.fail("ours", "it broke")
    assert render_text(results, ["go"]).strip() == "ours: FAILED: it broke"
    assert "it broke" in render_markdown(results, ["go"])
