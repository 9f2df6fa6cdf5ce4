"""`chainsocks serve`, from its options to a server that runs."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from chainsocks.commands.configuration import Found, find, log_start, not_found, one_of, with_options
from chainsocks.config.models import Config, open_to_all
from chainsocks.control.place import open_control_socket
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.activation import activation
from chainsocks.observe.log import change_logging, start_logging
from chainsocks.server.dealing import count_workers, share_out
from chainsocks.server.file_limit import files_warning, raise_limit
from chainsocks.server.reload import Reading
from chainsocks.server.serve import serve_until_signalled
from chainsocks.server.service_manager import ServiceManager
from chainsocks.server.workers import serve_with_workers
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
    activation.take()
    options = _Options(listen, hops, workers)
    found = find(one_of(file, path))
    config = options.apply(found)
    change_logging(config.log)
    log_start(found, config, hops, log)
    processes = count_workers(config.server)
    for warning in _warnings(found, config):
        log.warning("%s", warning)

    def read() -> Reading:
        again = find(found.path)
        if again.path is None:
            raise ConfigError([Problem("", f"the server was started without a file, and there is {not_found()}")])
        changed = options.apply(again)
        return Reading(changed, str(again.path), _warnings(again, changed))

    manager = ServiceManager.of_environment()
    gc.freeze()  # searching what the start has left for garbage would stop all sessions for 20 ms and more
    with open_control_socket(config.control.socket) as control:
        if processes == 1:
            trio.run(partial(serve_until_signalled, config, read, control=control, manager=manager))
        else:
            serve_with_workers(config, processes, read, control, manager)


@dataclass(frozen=True, slots=True)
class _Options:
    """The options that take precedence over each file that is read."""

    listen: tuple[str, ...]
    hops: tuple[str, ...]
    workers: int | None

    def apply(self, found: Found) -> Config:
        """Return the configuration that was found, with the options.

        Raises:
            ConfigError: an option is not valid with it.
        """
        config = with_options(found.config, self.listen, self.hops, self.workers)
        config = replace(config, source=str(found.path.absolute()) if found.path else "")
        if exposed := activation.with_addresses(config).exposed:
            raise ConfigError([Problem("server.listen", open_to_all(each)) for each in exposed])
        return config


def _warnings(found: Found, config: Config) -> tuple[str, ...]:
    """Return what is worth a warning in a configuration; allow as many open files as the system permits."""
    files = files_warning(raise_limit(), max(share_out(config.server.max_sessions, count_workers(config.server))))
    return (*map(str, found.warnings), *warnings(config), *filter(None, [files]))
