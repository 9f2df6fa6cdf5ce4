"""The chart: a bar for each figure that can be compared with the direct connection, as high as its ratio."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.container import BarContainer

from chainsocks.tools.bench.figures import BESIDE_RATE, LATENCIES, RATES, SESSION_COST, SESSION_RATE, Results, Sample
from chainsocks.tools.bench.plot import bars, save_bars


def results(**samples: Sample) -> Results:
    made = Results("direct")
    for name, sample in samples.items():
        made.add(name.replace("_", " "), sample)
    return made


NAMES = ["direct", "$1 hop & co$"]
RESULTS = results(direct={SESSION_RATE: 100.0, LATENCIES[50, 0]: 2.0, LATENCIES[99, 8]: 1.0})
RESULTS.add(NAMES[1], {SESSION_RATE: 50.0, LATENCIES[50, 0]: 3.0, SESSION_COST: 7.0})


def heights(results: Results, names: list[str]) -> dict[str, list[list[float]]]:
    """By panel, and for each way: the heights of its bars."""
    containers = {axes.get_title(): axes.containers for axes in bars(results, names).axes}
    return {
        title: [[bar.get_height() for bar in one] for one in drawn if isinstance(one, BarContainer)]
        for title, drawn in containers.items()
    }


def test_bars_are_multiples_of_the_direct_connection() -> None:
    found = heights(RESULTS, NAMES)
    assert found["more is better"] == [[1.0], [0.5]]
    assert found["less is better"] == [[1.0], [1.5]]
    [direct], [missing] = found["less is better, beside bulk"]
    assert direct == 1.0
    assert math.isnan(missing), "a figure that is missing has no bar"


def test_the_file_is_svg_whose_text_is_text(tmp_path: Path) -> None:
    path = tmp_path / "plot"
    save_bars(RESULTS, NAMES, path)
    texts = {"".join(text.itertext()) for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    assert {"direct", "$1 hop & co$", "sessions", "more is better", "0.5"} <= texts
    before = path.read_bytes()
    save_bars(RESULTS, NAMES, path)
    assert path.read_bytes() == before, "the same figures give the same file"


def test_every_figure_of_several_ways_has_its_bar() -> None:
    compared = [*RATES.values(), BESIDE_RATE, SESSION_RATE, *LATENCIES.values()]
    names = ["direct", "1 hop", "2 hops", "3 hops"]
    made = Results("direct")
    for number, name in enumerate(names, 1):
        made.add(name, dict.fromkeys(compared, 1.0 * number))
    drawn = [way for panel in heights(made, names).values() for way in panel]
    assert sum(map(len, drawn)) == 4 * len(compared)


@pytest.mark.parametrize("made", [results(), results(direct={SESSION_RATE: 0.0})], ids=["nothing", "zero"])
def test_with_nothing_to_compare_the_chart_is_empty(made: Results, tmp_path: Path) -> None:
    assert heights(made, ["direct"]) == {}
    save_bars(made, ["direct"], tmp_path / "plot.svg")
