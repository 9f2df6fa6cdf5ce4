"""Tables and lines: they fit the terminal, no line ends in spaces, and nothing is lost."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from chainsocks.tools.tables import UNLIMITED, plain_table, print_lines, print_table

NAME = "gateway-frankfurt-01-eu"
"""Of 23 letters, as many have."""
LABEL = "a" * 63
V6 = "[2001:db8:1234:5678:9abc:def0:1234:5678]:1080"


def printed(table: Table, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding, errors="backslashreplace")
    print_table(table, Console(file=file, width=width))
    file.flush()
    return raw.getvalue().decode(encoding)


def hops(*, frame: bool = False) -> Table:
    table = Table("hop", "address", "remark") if frame else plain_table("hop", "address", "remark")
    table.add_column("ms", justify="right")
    table.add_row(f"1 {NAME}", f"{NAME}.example.net:1080", "with login, names resolved locally", "1234.56")
    table.add_row("2 [b]osaka", V6, "", "7.00")
    table.add_section()
    table.add_row("  3 lima", f"{LABEL}.example:65535", "", "7.00")
    return table


def test_no_row_ends_in_spaces() -> None:
    table = plain_table("hop", "remark")
    table.add_row("paris", "")
    table.add_row("os[b]ka", "a longer remark")
    table.add_row("", "")
    assert printed(table, 1000) == "hop      remark\nparis\nos[b]ka  a longer remark\n\n"


def test_nor_does_one_with_colours() -> None:
    file = io.StringIO()
    print_table(plain_table("hop", "remark"), Console(file=file, force_terminal=True, color_system="standard"))
    assert file.getvalue().splitlines()[0].endswith("\x1b[1mremark\x1b[0m")


@pytest.mark.parametrize("frame", [False, True], ids=["plain", "frame"])
@pytest.mark.parametrize("width", range(20, 200, 5))
def test_every_line_fits_and_every_letter_is_there(width: int, *, frame: bool) -> None:
    table, whole = printed(hops(frame=frame), width), printed(hops(frame=frame), UNLIMITED)
    assert max(map(len, table.splitlines())) <= width
    letters = re.sub(r"\W", "", whole)
    for header in ("hop", "address", "remark", "ms") if table.startswith("hop   ") and "\n\n" in table else ():
        table = re.sub(rf"^{header} ", "", table, flags=re.MULTILINE)
        letters = letters.replace(header, "", 1)
    assert sorted(re.sub(r"\W", "", table)) == sorted(letters)
    assert not re.search(r" $|\n\n\n", table, re.MULTILINE)


def test_where_there_is_no_limit_a_row_is_one_line() -> None:
    name = ".".join([LABEL] * 4)
    table = plain_table("hop", "address")
    table.add_row(*[name] * 20)
    lines = printed(table, UNLIMITED).splitlines()
    assert lines[1].split() == [name] * 20
    assert len(lines) == 2


def small(*, frame: bool = False) -> Table:
    table = Table("hop", "address", "remark") if frame else plain_table("hop", "address", "remark")
    table.add_row("1 paris", f"{NAME}.example:1080", "with login, names resolved locally")
    table.add_row("  2 osaka", "10.0.0.1:1080", "")
    return table


def test_long_cells_are_wrapped_first() -> None:
    assert printed(small(), 70) == (
        "hop        address                               remark\n"
        f"1 paris    {NAME}.example:1080  with login, names\n"
        "                                                 resolved locally\n"
        "  2 osaka  10.0.0.1:1080\n"
    )


def test_then_the_frame_is_left_out() -> None:
    assert "│ with login, names │" in printed(small(frame=True), 72)
    assert printed(small(frame=True), 70) == printed(small(), 70)


def test_then_short_cells_are_wrapped() -> None:
    assert printed(small(), 60) == (
        "hop        address                               remark\n"
        f"1 paris    {NAME}.example:1080  with login,\n"
        "                                                 names\n"
        "                                                 resolved\n"
        "                                                 locally\n"
        "  2 osaka  10.0.0.1:1080\n"
    )


def test_then_addresses_are_wrapped_after_punctuation() -> None:
    assert printed(small(), 50) == (
        "hop        address             remark\n"
        "1 paris    gateway-frankfurt-  with login, names\n"
        "           01-eu.example:1080  resolved locally\n"
        "  2 osaka  10.0.0.1:1080\n"
    )


def test_at_last_each_row_becomes_a_block() -> None:
    assert printed(small(), 38) == (
        "hop      1 paris\n"
        "address  gateway-frankfurt-01-eu.\n"
        "         example:1080\n"
        "remark   with login, names resolved\n"
        "         locally\n"
        "\n"
        "hop        2 osaka\n"
        "address  10.0.0.1:1080\n"
    )


def test_what_the_encoding_lacks_is_measured_as_it_appears() -> None:
    table = plain_table("hop", "remark")
    table.add_row("z\u00fcrich", "login")
    assert printed(table, 80, "ascii") == "hop        remark\nz\\xfcrich  login\n"


def lines(width: int, *texts: str) -> list[str]:
    output = io.StringIO()
    print_lines(texts, Console(file=output, width=width))
    return output.getvalue().splitlines()


def test_lines_are_wrapped_between_words_and_moved_in() -> None:
    assert lines(24, "BROKEN: hop paris did not answer (0.50 s of 10 s)", "", "  - [b]is it running?") == [
        "BROKEN: hop paris did",
        "  not answer (0.50 s of",
        "  10 s)",
        "",
        "  - [b]is it running?",
    ]


def test_no_word_of_a_line_is_broken() -> None:
    assert lines(30, f"at {V6}, it says no") == ["at", f"  {V6},", "  it says no"]
    assert lines(UNLIMITED, f"at {V6} " * 100) == [(f"at {V6} " * 100).rstrip()]
