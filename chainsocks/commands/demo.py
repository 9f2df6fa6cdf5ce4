"""`chainsocks demo`: run `chainsocks.tools.demo`."""

from __future__ import annotations

import functools
import logging

import trio

from chainsocks.commands.console import open_console, open_progress_console
from chainsocks.observe.log import start_logging
from chainsocks.tools.demo import demo as run_demo

__all__ = ["demo"]


def demo(*, stay: bool) -> None:
    """Run the demo on standard output. It shows itself what a log would tell, warnings included."""
    start_logging(logging.ERROR)
    trio.run(functools.partial(run_demo, open_console(), open_progress_console(), stay=stay))
