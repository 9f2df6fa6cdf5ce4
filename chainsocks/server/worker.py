"""One worker: what a forked process does, from its first moment to its last.

1. Nothing of the parent goes on in it. What it inherits beyond its own sockets is closed before anything else, and it
   ends here, whatever happens.
2. SIGTERM and SIGINT stop it as they stop a server; more of them change nothing. A terminal sends SIGINT, and a service
   manager SIGTERM, to the parent and to all workers at once, and then the parent hands it on as well.
3. SIGQUIT ends all sessions now: that is how the parent hands a second signal on.
4. Signals wait until it can heed them. None is lost, and none kills it on its way up or down.
5. When the parent is gone, even without a word, it stops as well.
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
from chainsocks.observe.log import label_logging
from chainsocks.server.serve import serve
from chainsocks.session.record import prefix_ids

__all__ = ["END_NOW", "Worker", "flush_output", "run_worker", "serve_as_worker"]

log = logging.getLogger("chainsocks.server")

END_NOW: signal.Signals = getattr(signal, "SIGQUIT", signal.SIGTERM)  # Windows has no SIGQUIT, and no workers
SIGNALS = (signal.SIGTERM, signal.SIGINT, END_NOW)
FAILED = 1


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker is given."""

    number: int
    """One that no other worker of this server has or had: session ids begin with it."""
    config: Config
    """That of the server, with this worker's share of `max_sessions`."""
    listeners: Sequence[OpenListener]
    lifeline: socket.socket
    """Ends when the parent does: nobody else holds its other end, and nothing is ever sent."""


def run_worker(worker: Worker, inherited: Iterable[socket.socket]) -> NoReturn:
    """Be `worker` in a process that was forked for it, with the signals that stop it blocked, and end that process.

    `inherited` are the sockets that belong to the parent.
    """
    status = FAILED
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in SIGNALS:
            signal.signal(number, _ignore)  # for one that comes when nothing is left to be stopped
        for sock in inherited:
            sock.close()
        label_logging(f"worker {worker.number}: ")
        prefix_ids(f"{worker.number}-")
        trio.run(serve_as_worker, worker)
        status = 0
    except BaseException as error:  # nobody is left to raise it to
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, OSError):
            hint = " (see `ulimit -n`)" if error.errno in OUT_OF_DESCRIPTORS else ""
            log.error("this worker cannot go on: %s%s", error.strerror or error, hint)
        else:
            log.error("a bug in chainsocks ended this worker: %s: %s", type(error).__name__, error)
        log.debug("where it happened", exc_info=error)
    finally:
        try:
            flush_output()
        finally:
            os._exit(status)


async def serve_as_worker(worker: Worker) -> None:
    """Serve until a signal, or the end of the parent, says to stop; otherwise as `chainsocks.server.serve.serve`.

    The signals that the parent has blocked are unblocked.
    """
    stopping = trio.Event()
    with trio.open_signal_receiver(*SIGNALS) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*SIGNALS, signal.SIGCHLD})
        async with trio.open_nursery() as nursery:

            async def heed_signals() -> None:
                async for number in signals:
                    if number == END_NOW:
                        nursery.cancel_scope.cancel()
                    stopping.set()

            async def miss_the_parent() -> None:
                await trio.lowlevel.wait_readable(worker.lifeline)
                grace = worker.config.timeouts.grace
                log.error("the parent is gone: no new connections, up to %g s for the open ones", grace)
                stopping.set()

            nursery.start_soon(heed_signals)
            nursery.start_soon(miss_the_parent)
            await serve(worker.config, stopping, listeners=worker.listeners)
            nursery.cancel_scope.cancel()


def flush_output() -> None:
    """Write out what is buffered, as far as that is possible, so that two processes do not write it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream is not None:  # closed by whoever started us
                stream.flush()


def _ignore(number: int, frame: object) -> None:
    """Heed no signal. SIG_IGN would forget the ones that have come already."""
