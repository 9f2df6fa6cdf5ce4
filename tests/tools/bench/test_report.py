"""The table, the JSON, and the module that draws."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console

from chainsocks.config.hops import parse_hop_url
from chainsocks.tools.bench import plot
from chainsocks.tools.bench.figures import COSTS, LATENCIES, RATES, SESSION_RATE, Results
from chainsocks.tools.bench.report import as_json, make_table, plotter, show
from chainsocks.tools.bench.run import Subject
from chainsocks.tools.bench.way import Way

RATE, CPU, LATENCY = RATES["up", 1], COSTS["up", 1], LATENCIES[50, 0]

SUBJECTS = Subject(Way("direct")), Subject(Way("proxy", (parse_hop_url("socks5://alice:secret@[::1]:1080"),)))
RESULTS = Results("direct")
RESULTS.add("direct", {RATE: 7 * 2**30, SESSION_RATE: 12345.6, LATENCY: 7.654e-6})
RESULTS.add("proxy", {RATE: 2**20 / 3, CPU: 0.25, SESSION_RATE: 98.76, LATENCY: 0.0512})
RESULTS.note("proxy", "3 of 500 sessions failed")

TABLE = """\
                   unit        direct  proxy
bulk up, 1 stream  MiB/s         7168  0.333

bulk up, 1 stream  ms CPU/GiB       -    250

sessions           sessions/s   12346   98.8

echo, p50          us            7.65  51200
note: proxy: 3 of 500 sessions failed
"""


def printed(results: Results, *subjects: Subject) -> str:
    output = io.StringIO()
    show(results, subjects, Console(file=output, width=1000, markup=False, emoji=False, highlight=False))
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def test_a_row_for_each_figure_and_a_column_for_each_way() -> None:
    assert printed(RESULTS, *SUBJECTS) == TABLE


def test_nothing_measured_is_no_row() -> None:
    results = Results("direct")
    results.add("direct", {LATENCY: 0.0})
    rows = [line.split() for line in printed(results, SUBJECTS[0]).splitlines()]
    assert rows == [["unit", "direct"], ["echo,", "p50", "us", "0"]]


@pytest.mark.parametrize("columns", [40, 60, 80, 132])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    output = io.StringIO()
    show(RESULTS, SUBJECTS, Console(file=output, width=columns, markup=False, emoji=False, highlight=False))
    lines = output.getvalue().splitlines()
    assert len(lines) > 4
    for line in lines:
        assert len(line) <= columns
        assert line == line.rstrip()


def test_json_has_what_was_measured_as_it_was() -> None:
    assert json.loads(as_json(RESULTS, SUBJECTS, 0.5)) == {
        "seconds": 0.5,
        "ways": [
            {
                "name": "direct",
                "hops": [],
                "figures": {
                    "bulk_up_1_bytes_per_second": 7 * 2**30,
                    "sessions_per_second": 12345.6,
                    "echo_p50_seconds": 7.654e-6,
                },
            },
            {
                "name": "proxy",
                "hops": ["socks5://[::1]:1080"],
                "figures": {
                    "bulk_up_1_bytes_per_second": 2**20 / 3,
                    "bulk_up_1_cpu_seconds_per_gib": 0.25,
                    "sessions_per_second": 98.76,
                    "echo_p50_seconds": 0.0512,
                },
            },
        ],
        "notes": ["proxy: 3 of 500 sessions failed"],
    }


def test_a_table_in_markdown_has_bars() -> None:
    output = io.StringIO()
    Console(file=output, width=100).print(make_table(["", "a"], [["x", "1"]], markdown=True))
    assert [line.strip() for line in output.getvalue().split("\n") if line.strip()] == [
        "|   | a |",
        "|---|---|",
        "| x | 1 |",
    ]


def test_the_module_that_draws_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plotter() is plot
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[plot\]'"):
        plotter()
