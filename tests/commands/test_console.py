"""The console of commands."""

from __future__ import annotations

import io
import sys

import pytest

from chainsocks.commands.console import open_console


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", output)
    open_console().print("[bold]z\u00fcrich :smile:", "x" * 900)
    output.flush()
    assert output.buffer.getvalue() == b"[bold]z\\xfcrich :smile: " + b"x" * 900 + b"\n"
