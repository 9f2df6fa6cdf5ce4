"""The console that commands print tables on."""

from __future__ import annotations

import io
import sys

from rich.console import Console

__all__ = ["WIDE", "open_console"]

WIDE = 1000
"""Columns of tables. Terminals wrap longer lines by themselves, and lose nothing."""


def open_console(width: int | None = WIDE) -> Console:
    """Open standard output. Names appear unchanged and lines are not broken, so that addresses can be copied.

    A `width` of None is that of the terminal. Characters that the terminal's encoding lacks are escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(width=width, markup=False, emoji=False, highlight=False)
