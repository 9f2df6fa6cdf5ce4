"""Bar charts of the figures, drawn by matplotlib: the direct connection is 1.0, and every way is a multiple of it.

This module needs the extra `plot`. Nothing imports it at the top of a file: `chainsocks.tools.bench.report.plotter`
loads it when a chart was asked for. A figure that the direct connection lacks (CPU time, memory) has no bars.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chainsocks.tools.bench.figures import MEASURES, Column, Measure
from chainsocks.tools.bench.run import Report

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


def save(figure: Figure, path: Path) -> None:
    """Write a chart as SVG.

    Raises:
        OSError: the file cannot be written.
    """
    with mpl.rc_context(SETTINGS):
        figure.savefig(path, format="svg", metadata={"Date": None})


def save_bars(report: Report, path: Path) -> None:
    """Write the bar chart of `report` as SVG; raise `OSError` if the file cannot be written."""
    save(bars(report), path)


def bars(report: Report) -> Figure:
    """Draw the chart: a panel for each scale, in it a group for each figure, in that a bar for each way."""
    columns = report.columns
    compared = [measure for measure in MEASURES if columns and columns[0].figures.get(measure)]
    panels = {
        "more is better": [measure for measure in compared if measure.more_is_better],
        "less is better": [one for one in compared if not one.more_is_better and "beside" not in one.title],
        "less is better, beside bulk": [one for one in compared if not one.more_is_better and "beside" in one.title],
    }
    panels = {title: measures for title, measures in panels.items() if measures}
    most = max(map(len, panels.values()), default=0)
    with mpl.rc_context(SETTINGS):
        figure = Figure((4 + 0.4 * most * len(columns), 1 + 2.6 * len(panels)), layout="constrained")
        figure.suptitle("chainsocks bench: the direct connection is 1.0")
        for row, (title, measures) in enumerate(panels.items()):
            axes = figure.add_subplot(len(panels), 1, row + 1, title=title, xlim=(-0.6, most - 0.4))
            _draw(axes, columns, measures)
        if panels:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _draw(axes: Axes, columns: list[Column], measures: list[Measure]) -> None:
    width = 0.8 / len(columns)
    for number, column in enumerate(columns):
        places = [place + (number - (len(columns) - 1) / 2) * width for place in range(len(measures))]
        ratios = [column.figures.get(one, math.nan) / columns[0].figures[one] for one in measures]
        drawn = axes.bar(places, ratios, width, label=column.name, color=COLOURS[number % len(COLOURS)])
        axes.bar_label(drawn, fmt="{:.3g}", fontsize=7)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(measures)), [measure.title.replace(", ", "\n") for measure in measures])
