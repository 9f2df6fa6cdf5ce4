"""`chainsocks bench`: run `chainsocks.tools.bench`."""

from __future__ import annotations

import logging
from typing import Any

from chainsocks.commands.console import open_console, open_progress_console
from chainsocks.observe.log import start_logging
from chainsocks.tools.bench.command import Options
from chainsocks.tools.bench.command import bench as run_bench

__all__ = ["bench"]


def bench(**options: Any) -> None:
    """Measure; `options` are those of `chainsocks.tools.bench.command.Options`."""
    start_logging(logging.WARNING)
    run_bench(Options(**options), open_console(), open_progress_console())
