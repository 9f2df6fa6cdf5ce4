"""The process of the web server: ``python -m chainsocks.web``, which `chainsocks.server.web` starts."""

from __future__ import annotations

import logging
import signal
import sys

import trio

from chainsocks.observe.log import flush_log, restart_logging, start_logging
from chainsocks.web.serve import parse_arguments, serve

__all__ = ["main"]

log = logging.getLogger("chainsocks.web")

LEFT_TO_THE_SERVER = ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
"""Signals that a terminal, or an operator who means the server, sends to all of its processes."""


def main() -> None:
    """Serve HTTP until the server is gone."""
    for name in LEFT_TO_THE_SERVER:
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    given = parse_arguments(sys.argv[1:])
    start_logging(given.level, given.log)
    restart_logging("web")
    try:
        trio.run(serve, given)
    except Exception as error:  # the process ends here: it can only be logged
        log.error("a bug in chainsocks ended the web server: %s: %s", type(error).__name__, error)
        log.debug("where it happened", exc_info=error)
        sys.exit(1)
    finally:
        flush_log()


if __name__ == "__main__":
    main()
