"""Results as people read them: a table in the terminal, or the same in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from benchmarks.figures import Figure, Results

__all__ = ["remarks", "render_markdown", "render_text"]

BEST = "best other"
MISSING = "-"


def render_text(results: Results, rivals: Collection[str]) -> str:
    """Return a table for a terminal, and the remarks below it. `rivals` are those of whom one is called the best."""
    rows = _rows(results, rivals)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *remarks(results)])


def render_markdown(results: Results, rivals: Collection[str]) -> str:
    """Return the same in Markdown."""
    head, *rows = _rows(results, rivals)
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    return "\n".join([*lines, "", *(f"- {remark}" for remark in remarks(results))]).rstrip()


def remarks(results: Results) -> list[str]:
    """Return all that is to be said, a line for each."""
    return [f"{name}: {remark}" for name, said in results.remarks.items() for remark in said]


def _rows(results: Results, rivals: Collection[str]) -> list[list[str]]:
    figures = list(results.samples)
    names = list(dict.fromkeys(name for samples in results.samples.values() for name in samples))
    names.sort(key=lambda name: name != results.reference)  # the first round may have begun with somebody else
    rows = [["", *map(_head, figures)]]
    rows += [[name, *(_cell(results, figure, name) for figure in figures)] for name in names]
    others: Sequence[str] = [name for name in names if name in rivals and name != results.reference]
    if others:
        rows.append([BEST, *(results.best(figure, others) or MISSING for figure in figures)])
    return rows


def _head(figure: Figure) -> str:
    return f"{figure.title} ({'more' if figure.more_is_better else 'less'} is better)"


def _cell(results: Results, figure: Figure, name: str) -> str:
    median, ratio = results.median(figure, name), results.ratio(figure, name)
    if median is None:
        return MISSING
    text = f"{median:.{figure.digits}f}"
    return text if ratio is None or name == results.reference else f"{text} ({ratio:.2f} x)"
