"""`chainsocks bench`: run `chainsocks.tools.bench`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from chainsocks.commands.configuration import find
from chainsocks.commands.console import open_console, open_progress_console
from chainsocks.observe.log import start_logging
from chainsocks.tools.bench.command import Options
from chainsocks.tools.bench.command import bench as run_bench

__all__ = ["bench"]


def bench(*, path: Path | None, **options: Any) -> None:
    """Measure; `options` are those of `chainsocks.tools.bench.command.Options`. Only `path` or `chain` need a file."""
    start_logging(logging.WARNING)
    typed = Options(**options)
    config = find(path).config if path or typed.chain is not None else None
    run_bench(config, typed, open_console(), open_progress_console())
