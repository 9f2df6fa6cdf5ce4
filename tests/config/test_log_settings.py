"""`[log]` in a file."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chainsocks.config.log_settings import LogFormat, LogSettings, Privacy
from tests.config.files import problems, read


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("", LogSettings()),
        ('format = "json"', LogSettings(LogFormat.JSON)),
        ('privacy = "full"', LogSettings(privacy=Privacy.FULL)),
    ],
)
def test_what_a_file_says(line: str, settings: LogSettings) -> None:
    assert read(f"[log]\n{line}").log == settings


def test_what_it_cannot_say() -> None:
    assert problems('[log]\nformat = "xml"') == ["log.format: found 'xml', expected 'plain' or 'json'"]


def test_the_command_line_loads_no_other_setting() -> None:
    """It logs, and most commands need no configuration."""
    script = "import sys, chainsocks.cli; print([n for n in sys.modules if n.startswith('chainsocks.config')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['chainsocks.config', 'chainsocks.config.log_settings']\n"
