"""Several workers: processes that serve the same addresses, and the parent that keeps them.

The parent serves no clients and runs no event loop. It forks, and then waits for one signal or message after another.

1. A worker that dies is replaced, and the log says how it died (`chainsocks.server.pool`).
2. The first signal stops all workers, the second ends their sessions, and the third kills them. The parent ends after
   all of them, and leaves no process, socket or file behind.
3. For a reload, the parent reads the configuration anew, and has all workers change to it, or none.
4. `max_sessions` and `udp_ports` are divided among the workers.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import replace

from chainsocks.config.models import Config
from chainsocks.errors import ConfigError
from chainsocks.net.rearranging import rearranged
from chainsocks.net.sharing import reserve_all
from chainsocks.server.channel import Channel
from chainsocks.server.control_process import ControlProcess
from chainsocks.server.dealing import count_workers
from chainsocks.server.inbox import opened_inbox
from chainsocks.server.orders import DrainPlease, Order, Reloaded, ReloadPlease
from chainsocks.server.pool import Pool, next_pause
from chainsocks.server.pulse import Pulse
from chainsocks.server.reload import READING, Outcome, Read, log_outcome, outcome_of, unchangeable
from chainsocks.server.service_manager import ServiceManager
from chainsocks.server.signals import Meaning, Meanings
from chainsocks.server.web import WebServer, open_web_server
from chainsocks.signals import STOP, describe_exit

__all__ = ["serve_with_workers"]

log = logging.getLogger("chainsocks.server")

AGAIN = 5.0
"""Seconds until the next attempt to start a control process."""


def serve_with_workers(
    config: Config,
    workers: int,
    read: Read,
    control: socket.socket | None = None,
    manager: ServiceManager | None = None,
) -> None:
    """Serve with that many processes until a signal says to stop. The caller has no other thread and no event loop.

    `read` reads the configuration anew when it is to be reloaded. `control` is the listening control socket, if there
    is one; the caller closes it. `manager` gets the state of the server.

    Raises:
        OSError: an address is not available, and ``filename`` says which; or so many processes cannot be started.
    """
    meanings = Meanings()
    with opened_inbox() as inbox, ExitStack() as stack:
        pool = Pool(config, reserve_all(config.server.listen), inbox)
        stack.callback(pool.release)
        web = stack.enter_context(open_web_server(config))
        control_process = _start_control_process(pool, workers, control, web, stack) if control or web.opened else None
        stack.callback(pool.close)
        pool.start(workers)
        log.info("listening on %s", ", ".join(map(str, pool.reserved)))
        manager = manager or ServiceManager()
        parent = _Parent(pool, read, meanings, control_process, manager, web)
        why = parent.supervise()
        log.info("%s: no new connections, up to %g s for the open ones", why, pool.config.timeouts.grace)
        manager.is_stopping(pool.config.timeouts.grace)
        pool.release()
        if control_process:
            control_process.stop_soon()
        parent.shutdown()
    log.info("stopped")


def _start_control_process(
    pool: Pool, workers: int, control: socket.socket | None, web: WebServer, stack: ExitStack
) -> ControlProcess:
    """Start the control process, and have each worker that starts answer it."""
    process = ControlProcess(control, web, pool.inbox, pool.leave_to_control_process, pool.config.timeouts.grace)
    stack.callback(process.close)
    process.expect(workers, process.grace)
    process.start()
    pool.is_watched, pool.unwanted = True, process.sockets
    pool.on_start = lambda slot: process.introduce(slot.number, slot.pid, slot.tell)
    return process


class _Parent:
    """What the parent does between the start of the workers and their end."""

    def __init__(
        self,
        pool: Pool,
        read: Read,
        meanings: Meanings,
        control_process: ControlProcess | None,
        manager: ServiceManager,
        web: WebServer,
    ) -> None:
        self._pool = pool
        self._web = web
        self._control_process = control_process
        self._manager = manager
        self._pulse = Pulse(pool, manager)
        self._read = read
        self._meanings = meanings
        self._signals: list[signal.Signals] = []
        """Those that have come, and are not dealt with yet."""
        self._drained_at = math.inf

    def supervise(self) -> str:
        """Replace workers that die and do what is asked for, until the server is to stop; return why it is."""
        pool = self._pool
        self._manager.is_ready(self._pulse.summary)
        while time.monotonic() < self._drained_at:
            if not self._signals:
                due = self._control_process.due if self._control_process else math.inf
                self._signals += pool.wait(min(pool.due, self._drained_at, self._pulse.due, due))
            while self._signals:
                received = self._next_signal()
                if received is signal.SIGCHLD:
                    continue
                meaning = self._meanings.of(received)
                if meaning is Meaning.STOP:
                    return received.name
                self._act(meaning)
            while pool.asked:
                self._answer(*pool.asked.pop(0))
            for slot, code in pool.reap():
                if slot in pool.slots:
                    slot.pause = next_pause(slot.pause, time.monotonic() - slot.started)
                    log.warning("%s %s; it is replaced in %g s", slot.worker, describe_exit(code), slot.pause)
                else:
                    log.log(logging.WARNING if code else logging.INFO, "%s %s", slot.worker, describe_exit(code))
                slot.vacate()
            pool.fill()
            self._pulse.take()
            if self._control_process and self._control_process.reap():
                self._reopen(self._control_process)
        return "drained"

    def _next_signal(self) -> signal.Signals:
        """Return the next signal: the first that stops the server, otherwise one for all that are the same."""
        received = next((each for each in self._signals if each in STOP), self._signals[0])
        if received in STOP:
            self._signals.remove(received)
        else:
            self._signals = [each for each in self._signals if each is not received]
        return received

    def _reopen(self, control_process: ControlProcess) -> None:
        """Start the control process anew, and have all workers answer it."""
        try:
            control_process.start()
        except OSError as error:
            log.error("the control process cannot start: %s", error.strerror)
            control_process.due = time.monotonic() + AGAIN
            return
        for slot in self._pool.workers:
            self._pool.on_start(slot)

    def shutdown(self) -> None:
        """Stop all workers and wait until they have ended; each further signal is passed on as a harsher one."""
        pool = self._pool
        pool.signal_all(signal.SIGTERM)
        repeated = 0
        while True:
            for slot, code in pool.reap():
                log.log(logging.WARNING if code else logging.INFO, "%s %s", slot.worker, describe_exit(code))
                slot.vacate()
            if not pool.workers:
                return
            if not self._signals:
                self._signals += pool.wait(self._pulse.due)
            self._pulse.take()
            while self._signals:
                received = self._next_signal()
                if received in STOP:  # kernel and shell may both send SIGHUP; that is no second signal
                    repeated += 1
                    log.warning("%s again: ending all sessions now", received.name)
                    if repeated == 1:
                        for slot in pool.workers:
                            slot.tell(Order.END_NOW)
                    else:
                        pool.signal_all(signal.SIGKILL)

    def _act(self, meaning: Meaning) -> None:
        match meaning:
            case Meaning.RELOAD:
                self._reload()
            case Meaning.SHOW:
                for slot in self._pool.workers:
                    slot.tell(Order.SHOW)

    def _answer(self, channel: Channel, message: object) -> None:
        """Do what another process of the server asks for."""
        match message:
            case ReloadPlease():
                outcome = self._reload()
                with suppress(OSError):  # it has died meanwhile
                    channel.send(Reloaded(outcome))
            case DrainPlease(delay):
                self._drain(delay)

    def _drain(self, delay: float) -> None:
        now = time.monotonic()
        self._drained_at = min(self._drained_at, now + delay)
        log.info("draining: new connections for %g s more", round(self._drained_at - now, 1))
        if self._control_process:
            self._control_process.drain(self._drained_at)

    def _reload(self) -> Outcome:
        pool = self._pool
        self._manager.is_reloading()
        before = [*map(str, pool.reserved)]
        try:
            log.info(READING)
            reading = self._read()
            if problems := [*unchangeable(pool.config, reading.config)]:
                raise ConfigError(problems, reading.source)
            config = replace(reading.config, isolation_key=pool.config.isolation_key)
            with ExitStack() as on_failure:
                arranged = on_failure.enter_context(rearranged(pool.reserved, config.server.listen))
                opened = on_failure.enter_context(
                    self._web.prepare_reload(config, counts=self._control_process is not None)
                )
                self._signals += pool.change(config, count_workers(config.server), arranged)
            if self._control_process:
                self._control_process.change_web(config, opened)
                pool.unwanted = self._control_process.sockets
            outcome = Outcome(reading.source, warnings=reading.warnings)
        except Exception as error:  # noqa: BLE001  (the server goes on)
            outcome = outcome_of(error)
        if (after := [*map(str, pool.reserved)]) != before:
            log.info("listening on %s", ", ".join(after))
        if self._control_process:
            self._control_process.expect(len(pool.slots), pool.config.timeouts.grace)
        log_outcome(outcome)
        self._manager.is_ready(self._pulse.summary)
        return outcome
