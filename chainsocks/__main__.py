"""The program: its script and ``python -m chainsocks`` begin here.

A server holds signals back before anything else. Loading the command line takes a tenth of a second, and loading the
server half a second.
"""

from __future__ import annotations

import sys
from importlib import import_module

from chainsocks.signals import hold_signals

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process."""
    if sys.argv[1:2] == ["serve"]:
        hold_signals()
    import_module("chainsocks.cli").main()


if __name__ == "__main__":
    main()
