"""Curves over the number of hops, drawn by matplotlib (the extra `plot`): solid as measured, dashed as expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from chainsocks.tools.bench.plot import COLOURS, SETTINGS, save

__all__ = ["Point", "curves", "save_curves"]

Point = tuple[int, float, float]
"""A number of hops, and the seconds measured and expected."""


def save_curves(title: str, named: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Write the chart as SVG; raise `OSError` if the file cannot be written."""
    save(curves(title, named), path)


def curves(title: str, named: Mapping[str, Sequence[Point]]) -> Figure:
    """Draw two lines for each name, through its points from left to right."""
    with mpl.rc_context(SETTINGS):
        figure = Figure((7, 4.5), layout="constrained")
        axes = figure.add_subplot(title=title, xlabel="hops", ylabel="seconds")
        for number, (name, points) in enumerate(named.items(), 1):
            hops, measured, expected = zip(*points, strict=True)
            axes.plot(hops, expected, ":", color="black", linewidth=1)
            label = f"{name}: {measured[-1]:.2f} s through {hops[-1]}"
            # Each line is thinner than the one before, so that it does not hide one that is equal.
            axes.plot(hops, measured, "o-", color=COLOURS[number], linewidth=6 / number, label=label)
            axes.set_xticks(hops)
        axes.plot([], [], ":", color="black", linewidth=1, label="expected")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.4)
        axes.legend()
    return figure
