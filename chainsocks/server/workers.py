"""Workers: processes that serve the same addresses, under a parent that starts, replaces and stops them.

The parent serves nobody and runs no event loop: it forks, and then waits for one signal after the other.

1. It takes the addresses before there is a worker, and opens each worker's listeners right before it forks. So an
   address that cannot be had ends the server at its start, as it does with one process; and the listeners of a worker
   that dies are gone with it, so that nobody waits there for its replacement.
2. A worker that dies is replaced, and the log says how it died. One that dies early, again and again, is replaced ever
   more slowly (`next_pause`), and without an end.
3. The first signal stops all workers, the next one ends their sessions, and a third one kills them. The parent ends
   when all of them have, and leaves no process, socket or file behind.
4. A worker stops when its parent is gone. That needs no word from the parent (`chainsocks.server.worker`).
5. `max_sessions` is shared out, and the shares add up to it.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count, repeat

from chainsocks.config.models import Config, Server
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.listeners import OpenListener
from chainsocks.net.sharing import can_share, listen_beside, reserve_listeners
from chainsocks.server.worker import END_NOW, Worker, flush_output, run_worker

__all__ = ["count_workers", "next_pause", "serve_with_workers", "share_out"]

log = logging.getLogger("chainsocks.server")

STOP = {signal.SIGTERM, signal.SIGINT}

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds from a worker's death to its replacement: a slip costs little, a lasting fault does not busy the machine."""

SETTLED = 10.0
"""Seconds after which a death is no longer taken for a failed start."""


def count_workers(server: Server) -> int:
    """Return how many processes are to serve. 0 becomes one for each core that there is for us, where that is of use.

    Raises:
        ConfigError: processes cannot share a port on this system.
    """
    can_fork = hasattr(os, "fork") and hasattr(signal, "sigtimedwait")
    if server.workers == 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        return min(cores, server.max_sessions) if can_fork and can_share() else 1
    if server.workers > 1 and not (can_fork and can_share()):
        what = "processes cannot share a port on this system, as they can on Linux; leave it at 1"
        raise ConfigError([Problem("server.workers", what)])
    return server.workers


def share_out(total: int, workers: int) -> list[int]:
    """Divide `total` as evenly as it goes."""
    share, left = divmod(total, workers)
    return [share + (place < left) for place in range(workers)]


def next_pause(last: float, lived: float) -> float:
    """Say how long to wait before a dead worker is replaced, in seconds.

    `last` is the pause before the one that died, 0 for the first in its place; `lived` is how long it did.
    """
    return FIRST_PAUSE if lived >= SETTLED else min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE)


def serve_with_workers(config: Config, workers: int) -> None:
    """Serve until SIGTERM or SIGINT, with that many processes. No other thread may run, and no event loop.

    Raises:
        OSError: an address cannot be listened on, and ``filename`` says which; or there cannot be so many processes.
    """
    with _signals_held(), ExitStack() as addresses:
        reserved = addresses.enter_context(reserve_listeners(config.server.listen))
        with _full_crew(config, workers, reserved) as crew:
            log.info("listening on %s", ", ".join(map(str, reserved)))
            name = crew.keep_up().name
            log.info("%s: no new connections, up to %g s for the open ones", name, config.timeouts.grace)
            addresses.close()
            crew.dismiss()
    log.info("stopped")


@dataclass(slots=True)
class _Place:
    """A place in the crew, which one worker after the other may have."""

    max_sessions: int
    number: int = 0
    pid: int = 0
    """0 while it is vacant."""
    since: float = 0
    """When its worker started."""
    pause: float = 0
    due: float = 0
    """When a vacant place is to be filled."""

    @property
    def worker(self) -> str:
        """Who has it, for the log."""
        return f"worker {self.number} (pid {self.pid})"

    def vacate(self) -> None:
        """Wait for the next worker, as long as `pause` says."""
        self.pid, self.due = 0, time.monotonic() + self.pause


class _Crew:
    """The workers, and how they are started, replaced and told."""

    def __init__(self, config: Config, workers: int, reserved: Sequence[OpenListener]) -> None:
        self._config = config
        self._reserved = reserved
        self._numbers = count(1)
        self._places = [_Place(share) for share in share_out(config.server.max_sessions, workers)]
        self._lifeline, self._lifelines_end = socket.socketpair()

    def fill(self) -> None:
        """Start a worker in each place.

        Raises:
            OSError: that is not possible.
        """
        for place in self._places:
            self._start(place)

    def keep_up(self) -> signal.Signals:
        """Replace those who die, until a signal says to stop; return that signal."""
        while True:
            vacant = [place for place in self._places if not place.pid]
            received = _next_signal(min(place.due for place in vacant) if vacant else math.inf)
            if received in STOP:
                return received
            for place, code in self._bury():
                place.pause = next_pause(place.pause, time.monotonic() - place.since)
                log.warning("%s %s; it is replaced in %g s", place.worker, _ending(code), place.pause)
                place.vacate()
            for place in self._places:
                if not place.pid and place.due <= time.monotonic():
                    self._replace(place)

    def dismiss(self) -> None:
        """Stop all workers, and wait for their end; further signals hurry them."""
        harsher = chain([END_NOW], repeat(signal.SIGKILL))
        self._tell(signal.SIGTERM)
        while True:
            for place, code in self._bury():
                log.log(logging.WARNING if code else logging.INFO, "%s %s", place.worker, _ending(code))
                place.vacate()
            if not any(place.pid for place in self._places):
                return
            received = _next_signal()
            if received in STOP:
                log.warning("%s again: ending all sessions now", received.name)
                self._tell(next(harsher))

    def close(self) -> None:
        """Leave no process and no socket, whatever has happened."""
        self._tell(signal.SIGKILL)
        for place in self._places:
            if place.pid:
                os.waitpid(place.pid, 0)
        self._lifeline.close()
        self._lifelines_end.close()

    def _replace(self, place: _Place) -> None:
        try:
            self._start(place)
        except OSError as error:
            place.pause = next_pause(place.pause, 0)
            log.error("%s cannot start: %s; trying again in %g s", error.filename, error.strerror, place.pause)
            place.vacate()

    def _start(self, place: _Place) -> None:
        server = replace(self._config.server, max_sessions=place.max_sessions)
        place.number = next(self._numbers)
        flush_output()
        try:
            with listen_beside(self._reserved) as listeners:
                worker = Worker(place.number, replace(self._config, server=server), listeners, self._lifelines_end)
                pid = os.fork()
                if pid == 0:
                    run_worker(worker, [self._lifeline, *(each.sock for each in self._reserved)])
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"worker {place.number}") from error
        place.pid, place.since = pid, time.monotonic()
        log.info("%s has started", place.worker)

    def _bury(self) -> Iterator[tuple[_Place, int]]:
        """Reap the dead; of each, yield its place and its exit code."""
        for place in self._places:
            if place.pid:
                pid, status = os.waitpid(place.pid, os.WNOHANG)
                if pid:
                    yield place, os.waitstatus_to_exitcode(status)

    def _tell(self, number: signal.Signals) -> None:
        for place in self._places:
            if place.pid:
                os.kill(place.pid, number)


@contextmanager
def _full_crew(config: Config, workers: int, reserved: Sequence[OpenListener]) -> Iterator[_Crew]:
    """Start all workers; at the end, none is left."""
    crew = _Crew(config, workers, reserved)
    try:
        crew.fill()
        yield crew
    finally:
        crew.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keep the signals that we wait for from doing anything by themselves; forget those that come too late."""
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, the kernel would bury the dead
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, signal.SIGCHLD})
    try:
        yield
    finally:
        while _next_signal(0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGCHLD, handler)


def _next_signal(until: float = math.inf) -> signal.Signals | None:
    """Wait for a signal that is held; None when it is `until` on the monotonic clock, and none has come."""
    held = {*STOP, signal.SIGCHLD}
    if math.isinf(until):
        return signal.Signals(signal.sigwaitinfo(held).si_signo)
    received = signal.sigtimedwait(held, max(0, until - time.monotonic()))
    return signal.Signals(received.si_signo) if received else None


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
