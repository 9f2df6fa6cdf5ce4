"""One worker: what a forked process does, from its start to its end.

1. Nothing of the parent continues in it. It first closes the sockets that it inherited and does not need, and the
   process ends in `run_worker`, whatever happens.
2. SIGTERM, SIGINT and SIGQUIT stop it as they stop a server; repeating them changes nothing. A terminal sends SIGINT,
   and a service manager SIGTERM, to the parent and all workers at once, and the parent passes it on as well.
3. All other orders come from the parent, over its channel (`chainsocks.server.orders`), also the one to end all
   sessions now, after a second signal.
4. Signals are blocked until it can handle them. None is lost, and none kills it while it starts or ends.
5. All other signals are the parent's, which a terminal sends its hang-up to as well.
6. When the parent has died, the channel ends, and it stops as after a first signal.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import trio

from chainsocks.chain.connect_errors import OUT_OF_DESCRIPTORS
from chainsocks.config.models import Config
from chainsocks.control.messages import ControlError, Fault
from chainsocks.control.serve import serve_control
from chainsocks.limits.board import Column
from chainsocks.net.listeners import OpenListener
from chainsocks.observe.counters import Counters
from chainsocks.observe.live import LiveSessions
from chainsocks.observe.log import change_logging, flush_log, restart_logging
from chainsocks.observe.privacy import shown
from chainsocks.observe.record import prefix_ids
from chainsocks.server.channel import Channel, Received
from chainsocks.server.orders import Changed, Order, Prepare, Prepared, Told
from chainsocks.server.reload import Outcome
from chainsocks.server.serve import open_logged_server
from chainsocks.server.server import Server
from chainsocks.server.state import open_worker
from chainsocks.server.summary import summarize
from chainsocks.session.service import Service
from chainsocks.signals import SIGNALS, STOP

__all__ = ["Worker", "flush_output", "run_worker", "serve_as_worker"]

log = logging.getLogger("chainsocks.server")

FAILED = 1

LOOK = 0.5
"""Seconds between two looks whether the last session of a worker that retires has ended."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What the parent gives to a worker."""

    number: int
    """Unique among all workers that the server has had. Session ids begin with it."""
    config: Config
    """The server's configuration, with this worker's share of `max_sessions`."""
    listeners: Sequence[OpenListener]
    channel: Channel
    """To the parent."""
    is_watched: bool = False
    """Whether it keeps what the control socket shows."""
    others: Column | None = None
    """What it and the other workers tell one another, for limits."""
    takes_flows: bool = True
    """Whether it is the one that has the flows of datagrams."""


def run_worker(worker: Worker, leave_parent: Callable[[], None]) -> NoReturn:
    """Run `worker` in the process that was forked for it, and end that process.

    The parent has blocked all `SIGNALS`. `leave_parent` closes what is the parent's own.
    """
    status = FAILED
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        for number in STOP:
            signal.signal(number, _ignore)  # for signals that come after the event loop has ended
        for number in SIGNALS - STOP:
            signal.signal(number, signal.SIG_IGN)  # they are the parent's
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leave_parent()
        restart_logging(f"worker {worker.number}")
        prefix_ids(f"{worker.number}-")
        trio.run(serve_as_worker, worker)
        status = 0
    except BaseException as error:  # the process ends here: it can only be logged
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, OSError):
            hint = " (see `ulimit -n`)" if error.errno in OUT_OF_DESCRIPTORS else ""
            log.error("this worker cannot go on: %s%s", error.strerror or error, hint)
        else:
            log.error("a bug in chainsocks ended this worker: %s: %s", type(error).__name__, shown(error))
        log.debug("where it happened", exc_info=error)
    finally:
        try:
            flush_output()
        finally:
            os._exit(status)


async def serve_as_worker(worker: Worker) -> None:
    """Serve until a signal or the parent says to stop, or the parent dies; otherwise as `open_logged_server`.

    Unblocks the signals that the parent has blocked.
    """
    with trio.open_signal_receiver(*STOP) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*SIGNALS, signal.SIGCHLD})
        async with trio.open_nursery() as nursery:
            stopping = trio.Event()
            counters, live = (Counters(), LiveSessions()) if worker.is_watched else (None, None)
            async with open_logged_server(
                worker.config, worker.listeners, (), counters, live, worker.others, takes_flows=worker.takes_flows
            ) as server:
                nursery.start_soon(_handle_signals, signals, stopping)
                nursery.start_soon(_Orders(worker, server, stopping, nursery).run)
                await stopping.wait()
            nursery.cancel_scope.cancel()


async def _handle_signals(signals: AsyncIterator[int], stopping: trio.Event) -> None:
    async for _ in signals:
        stopping.set()


class _Steering:
    """What a worker can say of the server as a whole: a `chainsocks.server.reload.Steering`. The parent steers it."""

    def __init__(self, stopping: trio.Event) -> None:
        self._stopping = stopping

    @property
    def is_draining(self) -> bool:
        """Whether this worker stops."""
        return self._stopping.is_set()

    async def reload(self) -> Outcome:
        """Refuse: one worker does not reload alone."""
        raise ControlError(Fault.UNAVAILABLE, "a worker does not reload alone")

    def drain(self, delay: float) -> float:
        """Refuse: one worker does not stop alone."""
        raise ControlError(Fault.UNAVAILABLE, "a worker does not stop alone")


class _Orders:
    """Carries out what the parent orders."""

    def __init__(self, worker: Worker, server: Server, stopping: trio.Event, nursery: trio.Nursery) -> None:
        self._channel = worker.channel
        self._answers = open_worker(server, _Steering(stopping), nursery, worker.number) if worker.is_watched else None
        self._server = server
        self._stopping = stopping
        self._nursery = nursery
        self._prepared: tuple[Service, Sequence[OpenListener]] | None = None

    async def run(self) -> None:
        """Carry out one order after the other, to the end of the channel."""
        try:
            while True:
                received = await self._channel.next()
                await self._carry_out(received)
        except EOFError:
            if not self._stopping.is_set():
                grace = self._server.service.config.timeouts.grace
                log.error("the parent process has died: no new connections, up to %g s for the open ones", grace)
                self._stopping.set()

    async def _carry_out(self, received: Received) -> None:
        match received.message:
            case Order.STOP:
                self._stopping.set()
            case Order.END_NOW:
                self._nursery.cancel_scope.cancel()
            case Order.RETIRE:
                self._server.change_listeners([])
                self._nursery.start_soon(self._stop_after_the_last_session)
            case Prepare() as change:
                await self._prepare(change, received.sockets)
            case Order.CHANGE:
                self._change()
            case Order.ABORT:
                self._abort()
            case Order.SHOW:
                log.info("%s", summarize(self._server).line)
            case Order.SERVE_CONTROL if self._answers:
                [sock] = received.sockets
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                self._nursery.start_soon(serve_control, stream, self._answers)
            case Order.TELL:
                self._answer(Told(summarize(self._server)))

    async def _prepare(self, change: Prepare, sockets: Sequence[socket.socket]) -> None:
        self._abort()
        current, new = self._server.listeners, iter(sockets)
        listeners = [
            OpenListener(listener, next(new) if index is None else current[index].sock)
            for listener, index in change.listeners
        ]
        try:
            service = await trio.to_thread.run_sync(self._server.service.renewed, change.config)
        except Exception as error:  # noqa: BLE001  (the parent says so, and nothing has changed)
            for sock in sockets:
                sock.close()
            self._answer(Prepared(f"{type(error).__name__}: {shown(error)}"))
            return
        self._prepared = service, listeners
        self._answer(Prepared())

    def _change(self) -> None:
        if self._prepared:
            service, listeners = self._prepared
            self._prepared = None
            self._server.change(service, listeners)
            change_logging(service.config.log)
            self._answer(Changed())

    def _abort(self) -> None:
        if self._prepared:
            current = [each.sock for each in self._server.listeners]
            for each in self._prepared[1]:
                if each.sock not in current:
                    each.close()
            self._prepared = None

    async def _stop_after_the_last_session(self) -> None:
        while self._server.admission.taken or self._server.admission.waiting:  # noqa: ASYNC110  (no event tells)
            await trio.sleep(LOOK)
        self._stopping.set()

    def _answer(self, message: object) -> None:
        with suppress(OSError):  # the parent has died
            self._channel.send(message)


def flush_output(seconds: float = 1.0) -> None:
    """Write out the log, for at most `seconds`, and the buffered output; after a fork, both processes would write it.

    The thread that writes the log has ended then, unless nothing reads the log.
    """
    flush_log(seconds)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream is not None:  # as when the program was started with it closed
                stream.flush()


def _ignore(number: int, frame: object) -> None:
    """Do nothing. SIG_IGN would discard signals that are pending."""
