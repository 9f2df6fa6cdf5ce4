"""Serve until a signal says to stop, and then drain: the server as one process runs it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence

import trio

from chainsocks.config.models import Config
from chainsocks.net.listeners import OpenListener
from chainsocks.observe.counters import Counters
from chainsocks.observe.events import Events
from chainsocks.server.other_signals import OTHER_SIGNALS, OtherSignals
from chainsocks.server.server import open_server

__all__ = ["serve", "serve_until_signalled"]

log = logging.getLogger("chainsocks.server")


async def serve_until_signalled(
    config: Config, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends all sessions. Otherwise as `serve`.

    `chainsocks.server.other_signals` says when SIGHUP stops the server.
    """
    stopping, others = trio.Event(), OtherSignals()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *OTHER_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:

            async def handle_signals() -> None:
                async for number in signals:
                    name = signal.Signals(number).name
                    if number in OTHER_SIGNALS and (not others.stops(number) or stopping.is_set()):
                        continue  # kernel and shell may both send SIGHUP; that is no second signal
                    if stopping.is_set():
                        log.warning("%s again: ending all sessions now", name)
                        nursery.cancel_scope.cancel()
                    else:
                        log.info("%s: no new connections, up to %g s for the open ones", name, config.timeouts.grace)
                        stopping.set()

            nursery.start_soon(handle_signals)
            await serve(config, stopping, task_status=task_status)
            nursery.cancel_scope.cancel()


async def serve(
    config: Config,
    stopping: trio.Event,
    *,
    listeners: Sequence[OpenListener] = (),
    events: tuple[Events, ...] = (),
    counters: Counters | None = None,
    task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `config` until `stopping` is set and the sessions have ended, at most `grace` seconds later.

    `listeners`, which the caller has opened and logged, replace those of `config`. `events` are listeners to the events
    of all sessions, and `counters` counts them. `task_status` is started with the addresses in use, as users type them,
    once connections are accepted.

    *Closing*: all sockets that were opened here, and `listeners`, are closed on return and on cancellation.

    Raises:
        OSError: an address is not available; ``filename`` says which.
    """
    level = logging.DEBUG if listeners else logging.INFO
    async with open_server(config, listeners, events, counters) as server:
        addresses = [*map(str, server.listeners)]
        log.log(level, "listening on %s", ", ".join(addresses))
        task_status.started(addresses)
        await stopping.wait()
    log.log(level, "stopped")
