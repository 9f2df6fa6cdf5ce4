"""The tables of the benchmarks, for a terminal or in Markdown."""

from __future__ import annotations

import io
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

from rich.console import Console

from chainsocks.tools.bench.figures import Figure, Results
from chainsocks.tools.bench.report import format_value, make_table

__all__ = ["render", "render_results", "render_timings"]

BEST = "best other"


def render(head: Sequence[str], rows: Iterable[Sequence[str]], *, markdown: bool = False) -> str:
    """Return a table; its first column is text, and the others are numbers."""
    console = Console(width=1000, file=(text := io.StringIO()), markup=False, emoji=False, highlight=False)
    console.print(make_table(head, rows, markdown=markdown))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    if markdown:
        lines = [line for line in lines if line]
        lines[1] = f"| --- |{' ---: |' * (len(head) - 1)}"
    return "\n".join(lines)


def render_results(results: Results, rivals: Collection[str], *, markdown: bool = False) -> str:
    """Return a row for each name with medians and ratios, one with the best of `rivals`, and the notes."""
    figures = list(results.samples)
    names = list(dict.fromkeys(name for samples in results.samples.values() for name in samples))
    names.sort(key=lambda name: name != results.reference)  # the first round may have begun with another
    rows = [[name, *(_cell(results, figure, name) for figure in figures)] for name in names]
    others = [name for name in names if name in rivals and name != results.reference]
    if others:
        rows.append([BEST, *(results.best(figure, others) or "-" for figure in figures)])
    table = render(["", *map(_head, figures)], rows, markdown=markdown)
    notes = [f"- {line}" for line in results.note_lines] if markdown else results.note_lines
    return "\n".join([table, *([""] if markdown and notes else []), *notes])


def render_timings(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return the least and the median of the seconds that each thing took, in microseconds.

    The least is what the code costs; its distance from the median shows how noisy the machine is.
    """
    rows = [(what, f"{min(took) * 1e6:.2f}", f"{statistics.median(took) * 1e6:.2f}") for what, took in seconds.items()]
    return render(("us", "min", "median"), rows)


def _head(figure: Figure) -> str:
    better = "more" if figure.unit.more_is_better else "less"
    return f"{', '.join(filter(None, (figure.title, figure.unit.name)))} ({better} is better)"


def _cell(results: Results, figure: Figure, name: str) -> str:
    value, ratio = results.median(figure, name), results.ratio(figure, name)
    text = format_value(figure, value)
    return text if value is None or ratio is None or name == results.reference else f"{text} ({ratio:.2f} x)"
