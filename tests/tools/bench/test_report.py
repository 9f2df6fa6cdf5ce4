"""The table and the JSON."""

from __future__ import annotations

import io
import json

from rich.console import Console

from chainsocks.tools.bench.figures import MEASURES, Column
from chainsocks.tools.bench.report import as_json, show
from chainsocks.tools.bench.run import Report

RATE, CPU, SESSIONS, LATENCY = MEASURES[0], MEASURES[6], MEASURES[12], MEASURES[14]

REPORT = Report(
    seconds=0.5,
    columns=[
        Column("direct", (), {RATE: 7 * 2**30, SESSIONS: 12345.6, LATENCY: 7.654e-6}),
        Column("proxy", ("socks5://[::1]:1080",), {RATE: 2**20 / 3, CPU: 0.25, SESSIONS: 98.76, LATENCY: 0.0512}),
    ],
    notes=["proxy: 3 of 500 sessions failed"],
)

TABLE = """\
                   unit        direct  proxy
bulk up, 1 stream  MiB/s         7168  0.333

bulk up, 1 stream  ms CPU/GiB       -    250

sessions           sessions/s   12346   98.8

echo, p50          us            7.65  51200
note: proxy: 3 of 500 sessions failed
"""


def test_a_row_for_each_figure_and_a_column_for_each_way() -> None:
    output = io.StringIO()
    show(REPORT, Console(file=output, width=1000, markup=False, emoji=False, highlight=False))
    assert "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines()) == TABLE


def test_nothing_measured_is_no_row() -> None:
    output = io.StringIO()
    show(Report(1, [Column("direct", (), {LATENCY: 0.0})]), Console(file=output, width=1000))
    assert [line.split() for line in output.getvalue().splitlines()] == [
        ["unit", "direct"],
        ["echo,", "p50", "us", "0"],
    ]


def test_json_has_what_was_measured_as_it_was() -> None:
    assert json.loads(as_json(REPORT)) == {
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
