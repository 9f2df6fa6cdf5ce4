"""The figures as a table for people, and as JSON for programs: there in bytes and seconds, as measured."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Protocol, cast

from rich.console import Console
from rich.table import Table

from chainsocks.config.extras import PLOT, require
from chainsocks.tools.bench.figures import MEASURES, Measure
from chainsocks.tools.bench.run import Report

__all__ = ["Plotter", "as_json", "plotter", "show"]


class Plotter(Protocol):
    """The module that draws charts."""

    def save_bars(self, report: Report, path: Path) -> None:
        """Write a bar chart as SVG; raise `OSError` if the file cannot be written."""


def plotter() -> Plotter:
    """Return the module that draws charts. It needs matplotlib, which is loaded only when a chart was asked for.

    Raises:
        ValueError: matplotlib is not installed; the message names the command that installs it.
    """
    require(*PLOT)
    return cast(Plotter, importlib.import_module("chainsocks.tools.bench.plot"))


def show(report: Report, console: Console) -> None:
    """Print a row for each figure and a column for each way, and then the notes."""
    table = Table("", "unit", box=None, pad_edge=False)
    for column in report.columns:
        table.add_column(column.name, justify="right")
    before = None
    for measure in MEASURES:
        if any(measure in column.figures for column in report.columns):
            if before not in (None, measure.unit):
                table.add_row()
            before = measure.unit
            cells = (_cell(measure, column.figures.get(measure)) for column in report.columns)
            table.add_row(measure.title, measure.unit, *cells)
    console.print(table)
    for note in report.notes:
        console.print(f"note: {note}")


def as_json(report: Report) -> str:
    """Return all of it; a figure that could not be measured is not there."""
    ways = [
        {
            "name": column.name,
            "hops": column.hops,
            "figures": {measure.key: column.figures[measure] for measure in MEASURES if measure in column.figures},
        }
        for column in report.columns
    ]
    return json.dumps({"seconds": report.seconds, "ways": ways, "notes": report.notes}, indent=2)


def _cell(measure: Measure, value: float | None) -> str:
    """Round to three digits, and never more than to the unit."""
    if value is None:
        return "-"
    shown = value * measure.unit.per
    digits = 2 - math.floor(math.log10(abs(shown))) if shown else 0
    return f"{shown:.{min(max(digits, 0), 3)}f}"
