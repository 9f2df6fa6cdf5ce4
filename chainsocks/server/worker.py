"""One worker: what a forked process does, from its start to its end.

1. Nothing of the parent continues in it. It first closes the sockets that it inherited and does not need, and the
   process ends in `run_worker`, whatever happens.
2. SIGTERM and SIGINT stop it as they stop a server; repeating them changes nothing. A terminal sends SIGINT, and a
   service manager SIGTERM, to the parent and all workers at once, and the parent passes it on as well.
3. SIGQUIT ends all sessions now: that is how the parent passes a second signal on.
4. Signals are blocked until it can handle them. None is lost, and none kills it while it starts or ends.
5. All other signals are the parent's, which a terminal sends its hang-up to as well.
6. When the parent has died, it stops as after a first signal.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import trio

from chainsocks.chain.connect_errors import OUT_OF_DESCRIPTORS
from chainsocks.config.models import Config
from chainsocks.net.listeners import OpenListener
from chainsocks.observe.log import flush_log, restart_logging
from chainsocks.observe.privacy import shown
from chainsocks.observe.record import prefix_ids
from chainsocks.server.serve import open_logged_server
from chainsocks.server.signals import SIGNALS

__all__ = ["END_NOW", "Worker", "flush_output", "run_worker", "serve_as_worker"]

log = logging.getLogger("chainsocks.server")

END_NOW: signal.Signals = getattr(signal, "SIGQUIT", signal.SIGTERM)  # Windows has no SIGQUIT, and no workers
STOPPING = (signal.SIGTERM, signal.SIGINT, END_NOW)
FAILED = 1


@dataclass(frozen=True, slots=True)
class Worker:
    """What the parent gives to a worker."""

    number: int
    """Unique among all workers that the server has had. Session ids begin with it."""
    config: Config
    """The server's configuration, with this worker's share of `max_sessions`."""
    listeners: Sequence[OpenListener]
    lifeline: socket.socket
    """Readable when the parent has died, which alone holds the other end and never sends."""


def run_worker(worker: Worker, inherited: Iterable[socket.socket]) -> NoReturn:
    """Run `worker` in the process that was forked for it, and end that process.

    The parent has blocked the signals that stop a worker. `inherited` are the parent's own sockets; they are closed.
    """
    status = FAILED
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        for number in STOPPING:
            signal.signal(number, _ignore)  # for signals that come after the event loop has ended
        for number in SIGNALS.difference(STOPPING):
            signal.signal(number, signal.SIG_IGN)  # they are the parent's
        for sock in inherited:
            sock.close()
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
    """Serve until a signal comes or the parent dies; otherwise as `chainsocks.server.serve.serve`.

    Unblocks the signals that the parent has blocked.
    """
    stopping = trio.Event()
    with trio.open_signal_receiver(*STOPPING) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*SIGNALS, signal.SIGCHLD})
        async with trio.open_nursery() as nursery:

            async def handle_signals() -> None:
                async for number in signals:
                    if number == END_NOW:
                        nursery.cancel_scope.cancel()
                    stopping.set()

            async def watch_parent() -> None:
                await trio.lowlevel.wait_readable(worker.lifeline)
                grace = worker.config.timeouts.grace
                log.error("the parent process has died: no new connections, up to %g s for the open ones", grace)
                stopping.set()

            nursery.start_soon(handle_signals)
            nursery.start_soon(watch_parent)
            async with open_logged_server(worker.config, worker.listeners):
                await stopping.wait()
            nursery.cancel_scope.cancel()


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
