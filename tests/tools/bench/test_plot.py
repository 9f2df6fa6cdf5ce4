"""The chart: a bar for each figure that can be compared with the direct connection, as high as its ratio."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.container import BarContainer

from chainsocks.tools.bench.figures import MEASURES, Column, Unit
from chainsocks.tools.bench.plot import bars, save_bars
from chainsocks.tools.bench.run import Report

RATE, COST, LATENCY, BESIDE = (
    next(measure for measure in MEASURES if measure.key == key)
    for key in ("sessions_per_second", "session_cpu_seconds", "echo_p50_seconds", "echo_beside_8_p99_seconds")
)
REPORT = Report(
    1,
    [
        Column("direct", (), {RATE: 100.0, LATENCY: 2.0, BESIDE: 1.0}),
        Column("$1 hop & co$", (), {RATE: 50.0, LATENCY: 3.0, COST: 7.0}),
    ],
)


def heights(report: Report) -> dict[str, list[list[float]]]:
    """By panel, and for each way: the heights of its bars."""
    containers = {axes.get_title(): axes.containers for axes in bars(report).axes}
    return {
        title: [[bar.get_height() for bar in one] for one in drawn if isinstance(one, BarContainer)]
        for title, drawn in containers.items()
    }


def test_bars_are_multiples_of_the_direct_connection() -> None:
    found = heights(REPORT)
    assert found["more is better"] == [[1.0], [0.5]]
    assert found["less is better"] == [[1.0], [1.5]]
    [direct], [missing] = found["less is better, beside bulk"]
    assert direct == 1.0
    assert math.isnan(missing), "a figure that is missing has no bar"


def test_the_file_is_svg_whose_text_is_text(tmp_path: Path) -> None:
    path = tmp_path / "plot"
    save_bars(REPORT, path)
    texts = {"".join(text.itertext()) for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    assert {"direct", "$1 hop & co$", "sessions", "more is better", "0.5"} <= texts
    before = path.read_bytes()
    save_bars(REPORT, path)
    assert path.read_bytes() == before, "the same figures give the same file"


def test_every_figure_of_several_ways_has_its_bar() -> None:
    compared = [measure for measure in MEASURES if measure.unit in (Unit.RATE, Unit.SESSIONS, Unit.LATENCY)]
    ways = [Column(f"{number} hops", (), dict.fromkeys(compared, 1.0 + number)) for number in range(4)]
    drawn = [way for panel in heights(Report(1, ways)).values() for way in panel]
    assert sum(map(len, drawn)) == 4 * len(compared)


@pytest.mark.parametrize("columns", [[], [Column("direct", ())], [Column("direct", (), {RATE: 0.0})]])
def test_with_nothing_to_compare_the_chart_is_empty(columns: list[Column], tmp_path: Path) -> None:
    assert heights(Report(1, columns)) == {}
    save_bars(Report(1, columns), tmp_path / "plot.svg")
