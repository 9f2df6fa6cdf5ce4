"""The process of the web server: ``python -m chainsocks.web``, which `chainsocks.server.web` starts.

It ignores signals before it loads what it needs, which takes half a second. A terminal, or an operator who means the
server, may send them to all processes of the server.
"""

from __future__ import annotations

import signal
from importlib import import_module

from chainsocks.signals import SIGNALS

__all__ = ["main"]


def main() -> None:
    """Serve HTTP until the server is gone, or until SIGTERM."""
    for number in SIGNALS - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    import_module("chainsocks.web.serve").run()


if __name__ == "__main__":
    main()
