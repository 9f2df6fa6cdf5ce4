"""`chainsocks serve`, from its options to a server that runs."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

import trio

from chainsocks.commands.configuration import find, log_start, one_of, with_options
from chainsocks.observe.log import change_logging, start_logging
from chainsocks.server.file_limit import files_warning, raise_limit
from chainsocks.server.serve import serve_until_signalled
from chainsocks.server.workers import count_workers, serve_with_workers, share_out
from chainsocks.tools.warnings import warnings

__all__ = ["serve"]

log = logging.getLogger("chainsocks")


def serve(
    *,
    file: Path | None,
    path: Path | None,
    listen: tuple[str, ...],
    hops: tuple[str, ...],
    workers: int | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Serve until a signal stops it.

    Raises:
        ConfigError: the configuration or an option is not valid.
        OSError: an address is not available; ``filename`` says which.
    """
    start_logging(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    found = find(one_of(file, path))
    config = with_options(found.config, listen, hops, workers)
    change_logging(config.log)
    log_start(found, config, hops, log)
    processes = count_workers(config.server)
    files = files_warning(raise_limit(), max(share_out(config.server.max_sessions, processes)))
    for warning in [*map(str, found.warnings), *warnings(config), *filter(None, [files])]:
        log.warning("%s", warning)
    gc.freeze()  # searching what the start has left for garbage would stop all sessions for 20 ms and more
    if processes == 1:
        trio.run(serve_until_signalled, config)
    else:
        serve_with_workers(config, processes)
