"""Workers: processes that serve the same addresses, and the parent that starts, replaces and stops them.

The parent serves no clients and runs no event loop. It forks, and then waits for one signal after another.

1. It reserves the addresses before there is a worker, and opens each worker's listeners right before the fork. So an
   address that is not available ends the server at its start, as with one process; and the listeners of a worker that
   dies are closed with it, so that no connection waits there for the replacement.
2. A worker that dies is replaced, and the log says how it died. Workers that keep dying soon after their start are
   replaced at growing intervals (`next_pause`), without end.
3. The first signal stops all workers, the second ends their sessions, and the third kills them. The parent ends after
   all of them, and leaves no process, socket or file behind.
4. A worker stops by itself when its parent has died (`chainsocks.server.worker`).
5. `max_sessions` and `udp_ports` are divided among the workers.
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
from itertools import accumulate, chain, count, pairwise, repeat

from chainsocks.config.models import Config, Server
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.listeners import OpenListener
from chainsocks.net.sharing import can_share, listen_beside, reserve_listeners
from chainsocks.server.signals import SIGNALS, STOP, Meaning, Meanings
from chainsocks.server.worker import END_NOW, Worker, flush_output, run_worker
from chainsocks.sockets import ANY_PORT

__all__ = ["count_workers", "next_pause", "serve_with_workers", "share_out", "share_ports"]

log = logging.getLogger("chainsocks.server")

BLOCKED = {*SIGNALS, signal.SIGCHLD} if hasattr(signal, "SIGCHLD") else SIGNALS  # Windows has no workers
"""What the parent waits for."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds from a worker's death to its replacement: short after one death, long enough not to load the machine when
every worker dies."""

BEFORE_FORK = 0.1
"""Seconds for the log before a worker is forked."""

SETTLED = 10.0
"""Seconds after which a worker's death no longer counts as a failed start."""


def count_workers(server: Server) -> int:
    """Return how many processes are to serve. 0 stands for one per available core, where processes can share a port.

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
    """Divide `total` as evenly as possible."""
    share, left = divmod(total, workers)
    return [share + (index < left) for index in range(workers)]


def share_ports(ports: range, workers: int) -> list[range]:
    """Divide `ports` as evenly as possible; each worker has all of them if they are too few, or if any port will do."""
    if len(ports) < workers or ports == ANY_PORT:
        return [ports] * workers
    ends = [0, *accumulate(share_out(len(ports), workers))]
    return [ports[start:end] for start, end in pairwise(ends)]


def next_pause(last: float, lived: float) -> float:
    """Return the seconds to wait before a dead worker is replaced.

    `last` is the pause before that worker's own start, 0 for the first in its slot; `lived` is its age in seconds.
    """
    return FIRST_PAUSE if lived >= SETTLED else min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE)


def serve_with_workers(config: Config, workers: int) -> None:
    """Serve with that many processes until SIGTERM or SIGINT. The caller has no other thread and no event loop.

    Raises:
        OSError: an address is not available, and ``filename`` says which; or so many processes cannot be started.
    """
    with _signals_blocked(), ExitStack() as addresses:
        reserved = addresses.enter_context(reserve_listeners(config.server.listen))
        with _open_pool(config, workers, reserved) as pool:
            log.info("listening on %s", ", ".join(map(str, reserved)))
            name = pool.supervise().name
            log.info("%s: no new connections, up to %g s for the open ones", name, config.timeouts.grace)
            addresses.close()
            pool.shutdown()
    log.info("stopped")


@dataclass(slots=True)
class _Slot:
    """Room for one worker, and for its replacements one after another. Times are seconds on the monotonic clock."""

    max_sessions: int
    udp_ports: range
    number: int = 0
    pid: int = 0
    """0 while it is vacant."""
    started: float = 0
    pause: float = 0
    """Seconds from the death of the worker to the start of its replacement."""
    due: float = 0
    """When a vacant slot is to be filled."""

    @property
    def worker(self) -> str:
        """The worker, for the log."""
        return f"worker {self.number} (pid {self.pid})"

    def vacate(self) -> None:
        """Note that the worker is dead, and that the slot is due after the pause."""
        self.pid, self.due = 0, time.monotonic() + self.pause


class _WorkerPool:
    """Starts, replaces, signals and reaps the workers."""

    def __init__(self, config: Config, workers: int, reserved: Sequence[OpenListener]) -> None:
        self._config = config
        self._reserved = reserved
        self._numbers = count(1)
        self._meanings = Meanings()
        sessions = share_out(config.server.max_sessions, workers)
        self._slots = [*map(_Slot, sessions, share_ports(config.server.udp_ports, workers))]
        self._lifeline, self._workers_lifeline = socket.socketpair()

    def start(self) -> None:
        """Start a worker in each slot.

        Raises:
            OSError: one of them cannot be started.
        """
        for slot in self._slots:
            self._start_worker(slot)

    def supervise(self) -> signal.Signals:
        """Replace workers that die, until a signal says to stop; return that signal."""
        while True:
            vacant = [slot for slot in self._slots if not slot.pid]
            received = _next_signal(min(slot.due for slot in vacant) if vacant else math.inf)
            meaning = self._meanings.of(received) if received in SIGNALS else Meaning.NOTHING
            if received and meaning in (Meaning.RELOAD, Meaning.SHOW):
                log.warning("%s is ignored: several workers cannot do that yet", received.name)
            if received and meaning is Meaning.STOP:
                return received
            for slot, code in self._reap():
                slot.pause = next_pause(slot.pause, time.monotonic() - slot.started)
                log.warning("%s %s; it is replaced in %g s", slot.worker, _describe_exit(code), slot.pause)
                slot.vacate()
            for slot in self._slots:
                if not slot.pid and slot.due <= time.monotonic():
                    self._replace_worker(slot)

    def shutdown(self) -> None:
        """Stop all workers and wait until they have ended; each further signal is passed on as a harsher one."""
        harsher = chain([END_NOW], repeat(signal.SIGKILL))
        self._signal_all(signal.SIGTERM)
        while True:
            for slot, code in self._reap():
                log.log(logging.WARNING if code else logging.INFO, "%s %s", slot.worker, _describe_exit(code))
                slot.vacate()
            if not any(slot.pid for slot in self._slots):
                return
            received = _next_signal()
            if received in STOP:  # kernel and shell may both send SIGHUP; that is no second signal
                log.warning("%s again: ending all sessions now", received.name)
                self._signal_all(next(harsher))

    def close(self) -> None:
        """Kill and reap the workers that are left, and close the lifeline."""
        self._signal_all(signal.SIGKILL)
        for slot in self._slots:
            if slot.pid:
                os.waitpid(slot.pid, 0)
        self._lifeline.close()
        self._workers_lifeline.close()

    def _replace_worker(self, slot: _Slot) -> None:
        try:
            self._start_worker(slot)
        except OSError as error:
            slot.pause = next_pause(slot.pause, 0)
            log.error("%s cannot start: %s; trying again in %g s", error.filename, error.strerror, slot.pause)
            slot.vacate()

    def _start_worker(self, slot: _Slot) -> None:
        server = replace(self._config.server, max_sessions=slot.max_sessions, udp_ports=slot.udp_ports)
        slot.number = next(self._numbers)
        flush_output(BEFORE_FORK)
        try:
            with listen_beside(self._reserved, self._config.server.keepalive) as listeners:
                config = replace(self._config, server=server)
                worker = Worker(slot.number, config, listeners, self._workers_lifeline)
                pid = os.fork()
                if pid == 0:
                    run_worker(worker, [self._lifeline, *(each.sock for each in self._reserved)])
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"worker {slot.number}") from error
        slot.pid, slot.started = pid, time.monotonic()
        log.info("%s has started", slot.worker)

    def _reap(self) -> Iterator[tuple[_Slot, int]]:
        """Reap the workers that have died; yield the slot and the exit code of each."""
        for slot in self._slots:
            if slot.pid:
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid:
                    yield slot, os.waitstatus_to_exitcode(status)

    def _signal_all(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)


@contextmanager
def _open_pool(config: Config, workers: int, reserved: Sequence[OpenListener]) -> Iterator[_WorkerPool]:
    """Start all workers; at the end, none is left."""
    pool = _WorkerPool(config, workers, reserved)
    try:
        pool.start()
        yield pool
    finally:
        pool.close()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals that `_next_signal` waits for; discard those that are pending at the end."""
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, the kernel would reap the workers
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        while _next_signal(0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGCHLD, handler)


def _next_signal(until: float = math.inf) -> signal.Signals | None:
    """Wait for a blocked signal; return None when `until`, on the monotonic clock, has come without one."""
    if math.isinf(until):
        return signal.Signals(signal.sigwaitinfo(BLOCKED).si_signo)
    received = signal.sigtimedwait(BLOCKED, max(0, until - time.monotonic()))
    return signal.Signals(received.si_signo) if received else None


def _describe_exit(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
