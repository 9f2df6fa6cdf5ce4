"""What the benchmark of pipelined dials makes of its measurements; they themselves are made by a smoke run."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from benchmarks.pipelining import Measured, main, tabulate

FOUND = [
    Measured("off", 1, 4, [0.170, 0.164, 0.160]),
    Measured("off", 2, 9, [0.360]),
    Measured("chain", 1, 3, [0.120]),
    Measured("chain", 2, 5, [0.220]),
]


def test_the_median_counts_in_round_trips() -> None:
    assert FOUND[0].round_trips(0.020) == 4.1
    assert FOUND[0].ratio(0.020) == 1.025


def test_a_table_by_mode_and_number_of_hops() -> None:
    assert tabulate(FOUND, 0.020).splitlines() == [
        "ms (round trips measured/expected)         1 hop        2 hops",
        "off                                 164 (4.10/4)  360 (9.00/9)",
        "chain                               120 (3.00/3)  220 (5.50/5)",
    ]
    assert tabulate(FOUND, 0.020, markdown=True).splitlines()[1] == "| --- | ---: | ---: |"


def test_a_chart_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = CliRunner().invoke(main, ["--smoke", "--plot", "dials.svg"])
    assert done.exit_code == 2
    assert "--plot: this needs the extra plot, which is not installed: pip install '.[plot]'" in done.output
