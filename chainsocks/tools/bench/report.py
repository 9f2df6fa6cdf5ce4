"""The results as a table for people, and as JSON for programs, there in bytes and seconds, as measured."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, cast

from rich import box
from rich.console import Console
from rich.table import Table

from chainsocks.config.extras import PLOT, require
from chainsocks.tools.bench.figures import FIGURES, Figure, Results
from chainsocks.tools.bench.run import Subject
from chainsocks.tools.tables import print_lines, print_table

__all__ = ["Plotter", "as_json", "format_value", "make_table", "plotter", "show"]


def show(results: Results, subjects: Sequence[Subject], console: Console) -> None:
    """Print a row for each figure and a column for each way, and then the notes."""
    names = [subject.way.name for subject in subjects]
    rows: list[list[str]] = []
    before = None
    for figure in FIGURES:
        if figure in results.samples:
            if before not in (None, figure.unit):
                rows.append([])
            before = figure.unit
            rows.append(
                [
                    figure.title,
                    figure.unit.name,
                    *(format_value(figure, results.median(figure, name)) for name in names),
                ]
            )
    print_table(make_table(["", "unit", *names], rows, labels=2), console)
    print_lines((f"note: {line}" for line in results.note_lines), console)


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, labels: int = 1, markdown: bool = False) -> Table:
    """Return a table whose first `labels` columns are text; the others are numbers. An empty row is a gap."""
    table = Table(box=box.MARKDOWN if markdown else None, pad_edge=markdown)
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number < labels else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def format_value(figure: Figure, value: float | None) -> str:
    """Return a figure in the unit of the table: a whole number as it is, others with three digits or more."""
    if value is None:
        return "-"
    shown = value * figure.unit.per
    digits = 0 if shown.is_integer() else 2 - math.floor(math.log10(abs(shown)))
    return f"{shown:.{min(max(digits, 0), 3)}f}"


def as_json(results: Results, subjects: Sequence[Subject], seconds: float) -> str:
    """Return all results; a figure that could not be measured is not there."""
    ways = []
    for subject in subjects:
        medians = {figure.key: results.median(figure, subject.way.name) for figure in FIGURES}
        figures = {key: value for key, value in medians.items() if value is not None}
        hops = [f"{hop.scheme}://{hop.address}" for hop in subject.way.hops]
        ways.append({"name": subject.way.name, "hops": hops, "figures": figures})
    return json.dumps({"seconds": seconds, "ways": ways, "notes": results.note_lines}, indent=2)


class Plotter(Protocol):
    """The module that draws charts."""

    def save_bars(self, results: Results, names: Sequence[str], path: Path) -> None:
        """Write a bar chart as SVG; raise `OSError` if the file cannot be written."""


def plotter() -> Plotter:
    """Return the module that draws charts. It needs matplotlib, which is loaded only when a chart was asked for.

    Raises:
        ValueError: matplotlib is not installed; the message names the command that installs it.
    """
    require(*PLOT)
    return cast(Plotter, importlib.import_module("chainsocks.tools.bench.plot"))
