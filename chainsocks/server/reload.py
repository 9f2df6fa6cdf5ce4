"""Reloading: a running server takes over a new configuration as a whole, or not at all.

1. The file is read and checked in a thread, as at the start: options of the command line take precedence again. The new
   service is made there as well, and the addresses of new listeners are bound. If anything is wrong with all that, the
   server goes on as before, and the log lists every problem as `chainsocks check` does.
2. Then all changes in one go, without a pause in between. New sessions are on the new terms; those that run go on as
   they are, without a limit.
3. A file that has not changed is a reload too: what it refers to may have changed.

`Steering` is what can be asked of a server as a whole, with one process and with several. Signals and the control
socket use it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import trio

from chainsocks.config.models import Config
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.listeners import OpenListener
from chainsocks.net.rearranging import rearranged
from chainsocks.observe.log import change_logging
from chainsocks.server.dealing import count_workers
from chainsocks.server.server import Server
from chainsocks.server.web import WebServer
from chainsocks.session.service import Service

__all__ = ["READING", "Outcome", "Read", "Reading", "Reloader", "Steering", "log_outcome", "outcome_of", "unchangeable"]

log = logging.getLogger("chainsocks.server")

READING = "reading the configuration again"
"""The line at the beginning of a reload."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reload has led to. With problems, the server goes on with the configuration that it had."""

    source: str
    """The name of the file that was read; empty without one."""
    problems: tuple[Problem, ...] = ()
    """As `chainsocks check` reports them, and the keys that cannot change while the server runs."""
    warnings: tuple[str, ...] = ()

    @property
    def is_applied(self) -> bool:
        """Whether new sessions use the new configuration."""
        return not self.problems

    def __str__(self) -> str:
        """Return a line for each problem, as `chainsocks check` prints them; empty without problems."""
        return str(ConfigError(self.problems, self.source)) if self.problems else ""


class Steering(Protocol):
    """What can be asked of a server as a whole."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to stop, or stops; it may still accept connections."""

    async def reload(self) -> Outcome:
        """Read the configuration anew and apply it. Several requests at a time are done one after the other."""

    def drain(self, delay: float) -> float:
        """Stop after `delay` seconds of accepting, as a first SIGTERM does; return at once in how many seconds.

        If an earlier call has set an earlier time, that counts.
        """


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration that was read, with the options of the command line."""

    config: Config
    source: str
    """The name of the file."""
    warnings: tuple[str, ...] = ()


Read = Callable[[], Reading]
"""Reads the configuration anew; it may block.

Raises:
    ConfigError: there is no file, or it has problems.
"""


def outcome_of(error: Exception) -> Outcome:
    """Return what a reload has led to that has failed. The server goes on, also if there is a bug."""
    match error:
        case ConfigError():
            return Outcome(error.source, error.problems)
        case OSError():
            return Outcome("", (Problem("server.listen", f"{error.filename}: {error.strerror}"),))
    log.debug("where it happened", exc_info=error)
    return Outcome("", (Problem("", f"a bug in chainsocks: {type(error).__name__}: {error}"),))


def log_outcome(outcome: Outcome) -> None:
    """Log what a reload has led to, problems first."""
    for line in str(outcome).splitlines():
        log.error("%s", line)
    for warning in outcome.warnings:
        log.warning("%s", warning)
    if outcome.is_applied:
        log.info("reloaded: new sessions use %s", outcome.source)
    else:
        log.error("not reloaded: the server goes on with the configuration that it had")


class Reloader:
    """Reloads the server of this process, which is the only one."""

    def __init__(self, server: Server, read: Read, web: WebServer | None = None) -> None:
        self._server = server
        self._web = web or WebServer(server.service.config)
        self._read = read

    async def reload(self) -> Outcome:
        """Read the configuration anew and apply it; one call at a time."""
        try:
            with ExitStack() as on_failure:
                prepared = await trio.to_thread.run_sync(self._prepare, on_failure)
                reading, service, listeners, web = prepared
                before = [*map(str, self._server.listeners)]
                self._server.change(service, listeners)
                change_logging(reading.config.log)
                self._web.change(reading.config, web)
                if (after := [*map(str, self._server.listeners)]) != before:
                    log.info("listening on %s", ", ".join(after))
            outcome = Outcome(reading.source, warnings=reading.warnings)
        except Exception as error:  # noqa: BLE001  (the server goes on)
            outcome = outcome_of(error)
        log_outcome(outcome)
        return outcome

    def _prepare(self, on_failure: ExitStack) -> tuple[Reading, Service, list[OpenListener], list[OpenListener]]:
        server = self._server
        log.info(READING)
        reading = self._read()
        config = reading.config
        if problems := [*_unchangeable(server.service.config, config)]:
            raise ConfigError(problems, reading.source)
        service = server.service.renewed(config)
        listeners = on_failure.enter_context(rearranged(server.listeners, config.server.listen))
        counts = server.service.counters is not None
        web = on_failure.enter_context(self._web.prepare_reload(config, counts=counts))
        return reading, service, listeners, web


def unchangeable(former: Config, config: Config) -> Iterator[Problem]:
    """Find what no server can change while it runs."""
    if former.control.socket != config.control.socket:
        yield Problem("control.socket", "it cannot change while the server runs: restart the server")


def _unchangeable(former: Config, config: Config) -> Iterator[Problem]:
    """Find what one process cannot change while it runs."""
    yield from unchangeable(former, config)
    if (workers := count_workers(config.server)) != 1:
        what = f"it cannot become {workers}, as the server was started with one process: restart the server"
        yield Problem("server.workers", what)
