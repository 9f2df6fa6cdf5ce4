"""`chainsocks probe`: run `chainsocks.tools.probe` with the configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from chainsocks.commands.configuration import find
from chainsocks.commands.console import open_console, open_progress_console
from chainsocks.observe.log import start_logging
from chainsocks.tools.probe.command import Options
from chainsocks.tools.probe.command import probe as run_probe

__all__ = ["probe"]


def probe(*, path: Path | None, **options: Any) -> int:
    """Probe, and return the exit status; `options` are those of `chainsocks.tools.probe.command.Options`."""
    start_logging(logging.WARNING)
    return 0 if run_probe(find(path).config, Options(**options), open_console(), open_progress_console()) else 1
