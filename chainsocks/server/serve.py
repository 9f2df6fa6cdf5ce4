"""Serve until a signal says to stop, and then drain: the server as one process runs it."""

from __future__ import annotations

import logging
import math
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from chainsocks.config.models import Config
from chainsocks.limits.board import Column
from chainsocks.net.listeners import OpenListener
from chainsocks.observe.counters import Counters
from chainsocks.observe.events import Events
from chainsocks.observe.live import LiveSessions
from chainsocks.server.control import serve_control_socket
from chainsocks.server.reload import Outcome, Read, Reloader
from chainsocks.server.server import Server, open_server
from chainsocks.server.service_manager import ServiceManager
from chainsocks.server.signals import Meaning, Meanings
from chainsocks.server.state import open_worker
from chainsocks.server.summary import summarize
from chainsocks.server.web import WebServer, open_web_server
from chainsocks.signals import SIGNALS, STOP, signals_delivered

__all__ = ["OneProcess", "open_logged_server", "serve", "serve_until_signalled"]

log = logging.getLogger("chainsocks.server")


class OneProcess:
    """Steers a server that is one process: a `chainsocks.server.reload.Steering`. `stopping` is set to stop it."""

    def __init__(
        self,
        server: Server,
        read: Read,
        stopping: trio.Event,
        nursery: trio.Nursery,
        manager: ServiceManager | None = None,
        web: WebServer | None = None,
    ) -> None:
        self._server = server
        self._manager = manager or ServiceManager()
        self._reloader = Reloader(server, read, web)
        self._stopping = stopping
        self._nursery = nursery
        self._turn = trio.Lock()
        """To reload."""
        self._will_reload = False
        self._drained_at = math.inf
        """When the server stops accepting, on trio's clock."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._drained_at < math.inf

    async def reload(self) -> Outcome:
        """See `chainsocks.server.reload.Steering`."""
        async with self._turn:
            self._will_reload = False
            self._manager.is_reloading()
            outcome = await self._reloader.reload()
            self._manager.is_ready(summarize(self._server))
            return outcome

    def reload_soon(self) -> None:
        """Reload, and return at once. Several calls before the configuration is read are one."""
        if not self._will_reload:
            self._will_reload = True
            self._nursery.start_soon(self.reload)

    def drain(self, delay: float) -> float:
        """See `chainsocks.server.reload.Steering`."""
        now = trio.current_time()
        left = min(delay, max(0, self._drained_at - now))
        if now + delay < self._drained_at:
            self._drained_at = now + delay
            self._nursery.start_soon(self._stop_after, delay)
        log.info("draining: new connections for %g s more", round(left, 1))
        return left

    async def _stop_after(self, delay: float) -> None:
        await trio.sleep(delay)
        self.stop("drained")

    def stop(self, why: str) -> None:
        """Stop accepting, and give the sessions `grace` seconds."""
        if not self._stopping.is_set():
            self._drained_at = min(self._drained_at, trio.current_time())
            grace = self._server.service.config.timeouts.grace
            log.info("%s: no new connections, up to %g s for the open ones", why, grace)
            self._manager.is_stopping(grace)
            self._stopping.set()

    async def keep_manager_informed(self) -> None:
        """Tell the service manager that the event loop moves, and how the server is, until cancelled."""
        self._manager.is_ready(summarize(self._server))
        while True:
            await trio.sleep(self._manager.interval)
            self._manager.is_alive(summarize(self._server))


async def serve_until_signalled(
    config: Config,
    read: Read,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    control: socket.socket | None = None,
    manager: ServiceManager | None = None,
) -> None:
    """Serve until a signal says to stop, then drain; a second one ends all sessions. Otherwise as `serve`.

    `read` reads the configuration anew when it is to be reloaded. `chainsocks.server.signals` has the signals.
    `control` is the listening control socket, if there is one. It is served to the end, and the caller closes it.
    `manager` gets the state of the server.
    """
    meanings = Meanings()
    with open_web_server(config) as web, trio.open_signal_receiver(*SIGNALS) as signals, signals_delivered():
        counters, live = (Counters(), LiveSessions()) if control or web.opened else (None, None)
        async with trio.open_nursery() as nursery:
            stopping = trio.Event()

            async def run(task_status: trio.TaskStatus[Server]) -> None:
                async with open_logged_server(config, counters=counters, live=live) as server:
                    task_status.started(server)
                    await stopping.wait()
                nursery.cancel_scope.cancel()

            server = await nursery.start(run)
            steering = OneProcess(server, read, stopping, nursery, manager, web)
            nursery.start_soon(steering.keep_manager_informed)
            if counters:
                worker = open_worker(server, steering, nursery)
                nursery.start_soon(web.run, worker)
                if control:
                    nursery.start_soon(serve_control_socket, control, worker)
            task_status.started(server)
            async for number in signals:
                if stopping.is_set():
                    if number in STOP:
                        log.warning("%s again: ending all sessions now", signal.Signals(number).name)
                        nursery.cancel_scope.cancel()
                    continue  # kernel and shell may both send SIGHUP; that is no second signal
                match meanings.of(number):
                    case Meaning.STOP:
                        steering.stop(signal.Signals(number).name)
                    case Meaning.RELOAD:
                        steering.reload_soon()
                    case Meaning.SHOW:
                        log.info("%s", summarize(server).line)


async def serve(
    config: Config,
    stopping: trio.Event,
    *,
    events: tuple[Events, ...] = (),
    counters: Counters | None = None,
    task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `config` until `stopping` is set and the sessions have ended, at most `grace` seconds later.

    `events` are listeners to the events of all sessions, and `counters` counts them. `task_status` is started with the
    addresses in use, as users type them, once connections are accepted.

    *Closing*: all sockets are closed on return and on cancellation.

    Raises:
        OSError: an address is not available; ``filename`` says which.
    """
    async with open_logged_server(config, events=events, counters=counters) as server:
        task_status.started([*map(str, server.listeners)])
        await stopping.wait()


@asynccontextmanager
async def open_logged_server(
    config: Config,
    listeners: Sequence[OpenListener] = (),
    events: tuple[Events, ...] = (),
    counters: Counters | None = None,
    live: LiveSessions | None = None,
    others: Column | None = None,
    *,
    takes_flows: bool = True,
) -> AsyncIterator[Server]:
    """Run a server as `chainsocks.server.server.open_server` does, and log where it listens and that it has stopped.

    `listeners`, which the caller has opened and logged, replace those of `config`; with them these are debugging lines.
    """
    level = logging.DEBUG if listeners else logging.INFO
    async with open_server(config, listeners, events, counters, live, others, takes_flows=takes_flows) as server:
        log.log(level, "listening on %s", ", ".join(map(str, server.listeners)))
        yield server
    log.log(level, "stopped")
