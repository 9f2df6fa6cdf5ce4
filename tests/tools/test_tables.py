"""Tables without lines: what a row ends in."""

from __future__ import annotations

import io

from rich.console import Console

from chainsocks.tools.tables import plain_table, print_table


def printed(console: Console, file: io.StringIO) -> str:
    table = plain_table("hop", "remark")
    table.add_row("paris", "")
    table.add_row("os[b]ka", "a longer remark")
    table.add_row("", "")
    print_table(table, console)
    return file.getvalue()


def test_no_row_ends_in_spaces() -> None:
    file = io.StringIO()
    console = Console(file=file, width=1000, markup=False, emoji=False, highlight=False)
    assert printed(console, file) == "hop      remark\nparis\nos[b]ka  a longer remark\n\n"


def test_nor_does_one_with_colours() -> None:
    file = io.StringIO()
    console = Console(file=file, width=1000, markup=False, force_terminal=True, color_system="standard")
    assert printed(console, file).splitlines()[0].endswith("\x1b[1mremark\x1b[0m")
