"""Tables and lines that fit the terminal: cells are wrapped here, so that the terminal breaks no row in two.

Where a table is too wide, its long cells are wrapped between words. If that is not enough, its frame is left out, and
short cells are wrapped; then long words such as addresses are wrapped too, after their punctuation. Where not even that
fits, each row becomes a block of lines, one for each cell. No line ends in spaces, which a terminal would wrap as well.

A console of `UNLIMITED` columns is for output that is no terminal: nothing is wrapped there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.box import Box
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

__all__ = ["UNLIMITED", "plain_table", "print_lines", "print_table"]

UNLIMITED = 1_000_000
"""Columns of a console on which nothing is wrapped."""

SHORT = 16
"""Columns up to which a cell or a word is short."""

_PART = re.compile(r"(?:\*\.)?[^.,:;/@_-]*[.,:;/@_-]+|[^.,:;/@_-]+")
"""A part of a long word, with the punctuation after which the word may be wrapped."""

_WORD = re.compile(r"(?:\d+ )?\S+")
"""A word, or a number and the word that it belongs to."""

_GAP = "  "


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines."""
    return Table(*columns, box=None, pad_edge=False)


def print_table(table: Table, console: Console) -> None:
    """Print a table of texts in the width of the console."""
    columns = [
        [_shown(text, console) for text in (column.header if table.show_header else "", *column.cells)]
        for column in table.columns
    ]
    wrappable = [column.justify == "left" for column in table.columns]  # numbers stand at the right
    for least, box in ((_short, table.box), (_short, None), (_word, None), (_part, table.box), (_part, None)):
        frame = (3 if box else len(_GAP)) * len(columns) + (1 if box else -len(_GAP))
        if widths := _widths(columns, wrappable, least, console.width - frame):
            _print_fitted(table, columns, widths, box, console)
            return
    _print_blocks(columns, console)


def print_lines(lines: Iterable[str], console: Console) -> None:
    """Print lines, wrapped between words and further in from the second on; no word is broken."""
    for line in lines:
        indent = " " * (_indent(line) + 2)
        for part in _wrap(_shown(line, console), console.width, indent, _whole):
            console.print(Text(part), soft_wrap=True)


def _shown(text: object, console: Console) -> str:
    """Return a text as it will appear: characters that the encoding lacks are escaped there."""
    return str(text).encode(console.encoding, "backslashreplace").decode(console.encoding)


def _print_fitted(
    table: Table, columns: Sequence[Sequence[str]], widths: Sequence[int], box: Box | None, console: Console
) -> None:
    fitted = Table(box=box, pad_edge=box is not None, show_header=table.show_header)
    cells = [
        [Text("\n".join(_wrap(text, width, " " * _hang(text), _broken))) for text in column]
        for column, width in zip(columns, widths, strict=True)
    ]
    for column, (header, *_), width in zip(table.columns, cells, widths, strict=True):
        fitted.add_column(header, justify=column.justify, width=width, no_wrap=True)
    for number, row in enumerate(table.rows, 1):
        fitted.add_row(*(column[number] for column in cells), end_section=row.end_section)
    for line in console.render_lines(fitted, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
        console.print(Segments([*line, Segment.line()]), end="", soft_wrap=True)


def _print_blocks(columns: Sequence[Sequence[str]], console: Console) -> None:
    """Print a block for each row: a line for each cell that is not empty, after the header of its column."""
    headers = [column[0] for column in columns]
    room = max(map(cell_len, headers))
    before = False
    for row in zip(*(column[1:] for column in columns), strict=True):
        if before:
            console.print()
        before = any(map(str.strip, row))
        for header, cell in zip(headers, row, strict=True):
            ahead = f"{header}{' ' * (room - cell_len(header))}{_GAP if room else ''}"
            for line in (
                _wrap(cell, console.width - cell_len(ahead), " " * _hang(cell), _broken) if cell.strip() else ()
            ):
                console.print(Text.assemble((ahead, "table.header"), line), soft_wrap=True)
                ahead = " " * len(ahead)


def _widths(
    columns: Sequence[Sequence[str]], wrappable: Sequence[bool], least: Callable[[str], int], room: int
) -> list[int] | None:
    """Return a width for each column, all together at most `room`; None if that is too little."""
    most = [max(map(cell_len, column)) for column in columns]
    if sum(most) <= room:
        return most
    widths = [
        max((least if may_wrap else _word)(text) for text in column)
        for column, may_wrap in zip(columns, wrappable, strict=True)
    ]
    if sum(widths) > room:
        return None
    wanted = [wish - width for wish, width in zip(most, widths, strict=True)]
    spare, total = room - sum(widths), sum(wanted)  # more is wanted than is there
    return [width + spare * more // total for width, more in zip(widths, wanted, strict=True)]


def _short(text: str) -> int:
    """Return the width that a text takes if it is wrapped between words, but not if it is short."""
    return max(_word(text), min(cell_len(text), SHORT))


def _word(text: str) -> int:
    """Return the width that a text takes if it is wrapped between words."""
    words = (_hang(text) + cell_len(word) for word in _WORD.findall(text))
    return min(max(words, default=0), cell_len(text))


def _part(text: str) -> int:
    """Return the width that a text takes if long words are wrapped as well, after punctuation."""
    parts = (max(map(cell_len, _PART.findall(word))) for word in text.split() if cell_len(word) > SHORT)
    return max(min(cell_len(text), SHORT), *(_hang(text) + part for part in parts), 0)


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _hang(text: str) -> int:
    """Return by how much the lines of a cell are moved in from the second on: more than the first, if that is."""
    indent = _indent(text)
    return indent + 2 if indent else 0


def _wrap(text: str, width: int, indent: str, break_up: Callable[[str, int], Iterable[str]]) -> Iterator[str]:
    """Wrap a text between words, and long words as `break_up` says; put `indent` before all lines but the first."""
    line, is_empty = " " * _indent(text), True
    room = width - len(indent)
    for word in _words(text, room):
        for number, piece in enumerate([word] if cell_len(word) <= room else break_up(word, room)):
            ahead = "" if is_empty or number else " "
            if not is_empty and cell_len(line + ahead + piece) > width:
                yield line
                line, ahead = indent, ""
            line += ahead + piece
            is_empty = False
    yield line


def _words(text: str, room: int) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield from [word] if cell_len(word) <= room else word.split()


def _whole(word: str, _: int) -> Iterable[str]:
    return (word,)


def _broken(word: str, width: int) -> Iterator[str]:
    """Break a word after its punctuation, and inside of parts that are wider than a whole line."""
    for part in _PART.findall(word):
        yield from chop_cells(part, max(width, 1))
