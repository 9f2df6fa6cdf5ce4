from __future__ import annotations

import pytest

from benchmarks.tables import render_results, render_timings
from chainsocks.tools.bench.figures import COSTS, RATES, Results

RATE, COST = RATES["down", 1], COSTS["down", 1]
MIB = 2**20


@pytest.fixture
def results() -> Results:
    results = Results("ours")
    results.add("go", {RATE: 100.0 * MIB, COST: 0.0844})
    results.add("ours", {RATE: 200.0 * MIB, COST: 0.12})
    results.add("C loop", {RATE: 400.0 * MIB})
    results.add("slow", {RATE: 50.0 * MIB, COST: 0.36})
    results.note("dante", "skipped, there is no danted here")
    results.fail("odd", "it broke")
    return results


def test_the_text_lines_up(results: Results) -> None:
    assert render_results(results, ["ours", "go", "slow"]).splitlines() == [
        "            bulk down, 1 stream, MiB/s (more is better)  bulk down, 1 stream, ms CPU/GiB (less is better)",
        "ours                                                200                                               120",
        "go                                         100 (0.50 x)                                     84.4 (0.70 x)",
        "C loop                                     400 (2.00 x)                                                 -",
        "slow                                        50 (0.25 x)                                      360 (3.00 x)",
        "best other                                           go                                                go",
        "dante: skipped, there is no danted here",
        "odd: FAILED: it broke",
    ]


def test_markdown_says_the_same(results: Results) -> None:
    lines = render_results(results, ["ours", "go", "slow"], markdown=True).splitlines()
    assert lines[1] == "| --- | ---: | ---: |"
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in [lines[0], *lines[2:7]]] == [
        ["", "bulk down, 1 stream, MiB/s (more is better)", "bulk down, 1 stream, ms CPU/GiB (less is better)"],
        ["ours", "200", "120"],
        ["go", "100 (0.50 x)", "84.4 (0.70 x)"],
        ["C loop", "400 (2.00 x)", "-"],
        ["slow", "50 (0.25 x)", "360 (3.00 x)"],
        ["best other", "go", "go"],
    ]
    assert lines[7:] == ["", "- dante: skipped, there is no danted here", "- odd: FAILED: it broke"]


def test_without_rivals_none_is_the_best(results: Results) -> None:
    assert "best" not in render_results(results, ["ours"])


def test_a_rival_without_a_number_is_not_the_best() -> None:
    results = Results("ours")
    results.add("ours", {RATE: 1.0, COST: 1.0})
    results.add("go", {RATE: 1.0})
    assert render_results(results, ["go"]).splitlines()[-1].split() == ["best", "other", "go", "-"]


def test_nothing_measured_is_no_error() -> None:
    results = Results("ours")
    results.fail("ours", "it broke")
    assert render_results(results, ["go"]).strip() == "ours: FAILED: it broke"
    assert "it broke" in render_results(results, ["go"], markdown=True)


def test_timings_are_in_microseconds() -> None:
    assert render_timings({"a": [3e-6, 1e-6, 2.5e-6], "bb": [1e-3]}).splitlines() == [
        "us      min   median",
        "a      1.00     2.50",
        "bb  1000.00  1000.00",
    ]
