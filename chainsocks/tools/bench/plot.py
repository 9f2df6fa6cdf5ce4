"""Bar charts of the figures, drawn by matplotlib: the direct connection is 1.0, and every way is a multiple of it.

This module needs the extra `plot`. Nothing imports it at the top of a file: `chainsocks.tools.bench.report.plotter`
loads it when a chart was asked for. A figure that the direct connection lacks (CPU time, memory) has no bars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Chart

from chainsocks.tools.bench.figures import FIGURES, Figure, Results

__all__ = ["COLOURS", "SETTINGS", "bars", "save", "save_bars"]

COLOURS = ("#8a8f98", "#2f6fb0", "#e08a1e", "#3a9a6b", "#b5489b", "#7a5ac2", "#c2453d")
"""Grey is the direct connection. The first few others differ in lightness too, for colour-blind readers."""

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "chainsocks",  # the same figures give the same file
    "text.parse_math": False,  # a name may contain dollar signs
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def save(chart: Chart, path: Path) -> None:
    """Write a chart as SVG.

    Raises:
        OSError: the file cannot be written.
    """
    with mpl.rc_context(SETTINGS):
        chart.savefig(path, format="svg", metadata={"Date": None})


def save_bars(results: Results, names: Sequence[str], path: Path) -> None:
    """Write the bar chart as SVG; raise `OSError` if the file cannot be written."""
    save(bars(results, names), path)


def bars(results: Results, names: Sequence[str]) -> Chart:
    """Draw a panel for each scale, in it a group for each figure, in that a bar for each of `names`."""
    compared = [figure for figure in FIGURES if results.ratio(figure, results.reference)]
    more = [figure for figure in compared if figure.unit.more_is_better]
    less = [figure for figure in compared if not figure.unit.more_is_better]
    panels = {
        "more is better": more,
        "less is better": [figure for figure in less if "beside" not in figure.title],
        "less is better, beside bulk": [figure for figure in less if "beside" in figure.title],
    }
    panels = {title: figures for title, figures in panels.items() if figures}
    most = max(map(len, panels.values()), default=0)
    with mpl.rc_context(SETTINGS):
        chart = Chart((4 + 0.4 * most * len(names), 1 + 2.6 * len(panels)), layout="constrained")
        chart.suptitle("chainsocks bench: the direct connection is 1.0")
        for row, (title, figures) in enumerate(panels.items(), 1):
            axes = chart.add_subplot(len(panels), 1, row, title=title, xlim=(-0.6, most - 0.4))
            _draw(axes, results, names, figures)
        if panels:
            chart.legend(*chart.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return chart


def _draw(axes: Axes, results: Results, names: Sequence[str], figures: Sequence[Figure]) -> None:
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [place + (number - (len(names) - 1) / 2) * width for place in range(len(figures))]
        ratios = [results.ratio(figure, name) for figure in figures]
        heights = [math.nan if ratio is None else ratio for ratio in ratios]
        drawn = axes.bar(places, heights, width, label=name, color=COLOURS[number % len(COLOURS)])
        axes.bar_label(drawn, fmt="{:.3g}", fontsize=7)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(figures)), [figure.title.replace(", ", "\n") for figure in figures])
