"""The consoles that commands print on: results on standard output, progress on standard error."""

from __future__ import annotations

import io
import shutil
import sys
from typing import TextIO

from rich.console import Console

from chainsocks.tools.tables import UNLIMITED

__all__ = ["open_console", "open_page_console", "open_progress_console"]

NARROWEST = 20
"""Columns; on a narrower terminal, lines are as long as on one of this width."""


def open_console() -> Console:
    """Open standard output, as wide as the terminal. Names appear unchanged; what its encoding lacks is escaped.

    Where it is no terminal, its width is unlimited: each row of a table is one line, and no address is broken.
    """
    console = open_page_console()
    if not _is_terminal(sys.stdout):
        console.width = UNLIMITED
    return console


def open_page_console() -> Console:
    """Open standard output for text that is wrapped on any terminal, and where there is none.

    The width is COLUMNS, otherwise that of the terminal, otherwise 80.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    width = max(shutil.get_terminal_size().columns, NARROWEST)
    return Console(width=width, markup=False, emoji=False, highlight=False)


def open_progress_console() -> Console:
    """Open standard error. It counts as a terminal only if it is one, also where FORCE_COLOR asks for colours."""
    return Console(stderr=True, force_terminal=_is_terminal(sys.stderr))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
