"""Tables without lines, for `check` and `probe`. No row ends in spaces, which a narrow terminal would wrap."""

from __future__ import annotations

from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Table

__all__ = ["plain_table", "print_table"]


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines."""
    return Table(*columns, box=None, pad_edge=False)


def print_table(table: Table, console: Console) -> None:
    """Print a table, each row without the spaces at its end."""
    for row in console.render_lines(table, pad=False):
        while row and not row[-1].text.strip():
            row.pop()
        if row:
            row[-1] = Segment(row[-1].text.rstrip(), row[-1].style)
        console.print(Segments([*row, Segment.line()]), end="", soft_wrap=True)
