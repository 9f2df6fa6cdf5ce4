"""The control process of a server with several workers: it serves the control socket and has the web server.

It carries no sessions.

1. The parent forks it, as it forks workers, and starts it anew when it has died. No session notices that.
2. For each worker the parent makes a pair of streams. One end goes to the worker, which serves the control protocol on
   it, and the other one to the control process, which asks there.
3. What concerns the server as a whole, a reload and a drain, is asked of the parent over a channel.
4. It ignores all signals, and ends when the parent closes the channel or dies: then the server has ended.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import NoReturn

import trio

from chainsocks.config.models import Config
from chainsocks.control.ask import Asker
from chainsocks.control.messages import ControlError, Fault, Reloaded
from chainsocks.net.listeners import OpenListener
from chainsocks.observe.log import change_logging, restart_logging
from chainsocks.observe.privacy import shown
from chainsocks.server import orders
from chainsocks.server.all_workers import AllWorkers, Member, ServerControls
from chainsocks.server.channel import Channel, open_channel
from chainsocks.server.control import serve_control_socket
from chainsocks.server.inbox import Inbox
from chainsocks.server.web import LEAVING, WebServer, web_listeners
from chainsocks.server.worker import flush_output
from chainsocks.signals import SIGNALS, describe_exit

__all__ = ["ControlProcess"]

log = logging.getLogger("chainsocks.control")

PAUSE = 1.0
"""Seconds from the death of the control process to the start of the next one."""

ENDING = LEAVING + 1.0
"""Seconds that it has to end by itself, after the web server."""

JOINING = 2.0
"""Seconds that clients wait until all workers have joined."""

BEFORE_FORK = 0.1
"""Seconds for the log before the fork."""


@dataclass(slots=True)
class ControlProcess:
    """The parent's view of the control process."""

    listening: socket.socket | None
    """The control socket, if there is one."""
    web: WebServer
    """Its process is started in the control process; here it only has the sockets."""
    inbox: Inbox
    leave_parent: Callable[[], None]
    """Closes what is the parent's own, in a process that was forked."""
    grace: float
    pid: int = 0
    due: float = math.inf
    """When it is to be started anew, on the monotonic clock."""
    _channel: Channel | None = None
    _expected: int = 0
    _drained_at: float = math.inf
    _began: float = field(default_factory=time.monotonic)

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets that only this process needs."""
        control = [self.listening] if self.listening else []
        return [*control, *(each.sock for each in self.web.opened)]

    def start(self) -> None:
        """Start the process.

        Raises:
            OSError: it cannot be started.
        """
        flush_output(BEFORE_FORK)
        with ExitStack() as stack:
            stack.enter_context(self.inbox.held())
            channel, theirs = open_channel()
            stack.callback(theirs.close)
            unused = stack.enter_context(ExitStack())
            unused.callback(channel.close)
            pid = os.fork()
            if pid == 0:
                channel.close()
                _run(_Process(theirs, self.listening, self.web, os.getppid(), self._began), self.leave_parent)
            unused.pop_all()
        self.inbox.add(channel)
        self.pid, self._channel, self.due = pid, channel, math.inf
        self._tell_settings()

    def introduce(self, number: int, pid: int, tell_worker: Callable[[object, Sequence[socket.socket]], None]) -> None:
        """Have a worker answer the control process."""
        if self._channel is None:
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            tell_worker(orders.Order.SERVE_CONTROL, [theirs])
            self._tell(orders.Joined(number, pid), [ours])

    def expect(self, workers: int, grace: float) -> None:
        """Note how many workers there are to be, and how long sessions have when the server stops."""
        self._expected, self.grace = workers, grace
        self._tell_settings()

    def drain(self, at: float) -> None:
        """Note when the server stops accepting, on the monotonic clock."""
        self._drained_at = at
        self._tell_settings()

    def change_web(self, config: Config, opened: Sequence[OpenListener]) -> None:
        """Have the web server change to a configuration, on sockets that its `prepare` has yielded."""
        self.web.change(config, opened)
        self._tell(orders.WebChanged(config), [each.sock for each in opened])

    def stop_soon(self) -> None:
        """Say that the server stops; the process answers until `close`."""
        self._tell(orders.Order.STOP)

    def reap(self) -> bool:
        """Note whether the process has died, and when the next one is due; return whether it is due now."""
        if self.pid:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                log.warning("the control process (pid %d) %s; it is started anew", pid, describe_exit(code))
                self._hang_up()
                self.pid, self.due = 0, time.monotonic() + PAUSE
        return time.monotonic() >= self.due

    def close(self) -> None:
        """End the process."""
        self._hang_up()
        if not self.pid:
            return
        until = time.monotonic() + ENDING
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                break
            time.sleep(0.005)
        self.pid = 0

    def _tell_settings(self) -> None:
        self._tell(orders.Settings(self._expected, self.grace, self._drained_at))

    def _tell(self, message: object, sockets: Sequence[socket.socket] = ()) -> None:
        if self._channel:
            with suppress(OSError):  # it has died, which `reap` finds out
                self._channel.send(message, sockets)

    def _hang_up(self) -> None:
        if self._channel:
            with suppress(KeyError):  # it has ended, and the inbox has noticed
                self.inbox.remove(self._channel)
            self._channel.close()
            self._channel = None


@dataclass(frozen=True, slots=True)
class _Process:
    """What the parent gives to the control process."""

    channel: Channel
    listening: socket.socket | None
    web: WebServer
    parent: int
    """The pid of the parent."""
    began: float


def _run(process: _Process, leave_parent: Callable[[], None]) -> NoReturn:
    """Run in the process that was forked for it, and end that process."""
    status = 1
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leave_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*SIGNALS, signal.SIGCHLD})
        restart_logging("control")
        trio.run(_serve, process)
        status = 0
    except BaseException as error:  # the process ends here: it can only be logged
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        log.error("a bug in chainsocks ended the control process: %s: %s", type(error).__name__, shown(error))
        log.debug("where it happened", exc_info=error)
    finally:
        try:
            flush_output()
        finally:
            os._exit(status)


async def _serve(process: _Process) -> None:
    """Serve the control socket until the parent closes the channel."""
    parent = _ToParent(process.channel, process.web)
    controls = ServerControls(parent.reload, parent.drain, process.parent, lambda: parent.grace)
    all_workers = AllWorkers(controls, process.began)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.web.run, all_workers)
        if process.listening:
            nursery.start_soon(_answer_clients, process.listening, all_workers)
        await parent.listen(all_workers, nursery)
        nursery.cancel_scope.cancel()
    await all_workers.aclose()


async def _answer_clients(listening: socket.socket, all_workers: AllWorkers) -> None:
    """Serve the control socket once all workers are there: until then, clients wait in its backlog."""
    with trio.move_on_after(JOINING):
        await all_workers.complete.wait()
    await serve_control_socket(listening, all_workers)


class _ToParent:
    """The channel to the parent, as the control process has it."""

    def __init__(self, channel: Channel, web: WebServer) -> None:
        self._channel = channel
        self._web = web
        self._asked = 0
        self._reloads: dict[int, orders.Reloaded | None] = {}
        """What has come of each reload, by the number of its question; they are answered in order."""
        self._has_news = trio.Event()
        self._is_stopping = False
        self.grace = math.inf

    async def listen(self, all_workers: AllWorkers, nursery: trio.Nursery) -> None:
        """Do what the parent says, until the channel ends."""
        while True:
            try:
                received = await self._channel.next()
            except EOFError:
                return
            match received.message:
                case orders.Joined(number, pid):
                    [sock] = received.sockets
                    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                    nursery.start_soon(all_workers.join, Member(number, pid, Asker(stream)))
                case orders.Settings(workers, grace, drained_at):
                    all_workers.expected, self.grace = workers, grace
                    all_workers.drained_at = min(all_workers.drained_at, drained_at)
                case orders.WebChanged(config):
                    change_logging(config.log)
                    listeners = web_listeners(config) * len(received.sockets)  # a name may have several addresses
                    self._web.change(config, [*map(OpenListener, listeners, received.sockets)])
                case orders.Reloaded() as reloaded:
                    self._reloads[min(number for number, answer in self._reloads.items() if answer is None)] = reloaded
                    self._wake()
                case orders.Order.STOP:
                    all_workers.drained_at = min(all_workers.drained_at, time.monotonic())
                    self._is_stopping = True
                    self._wake()

    async def reload(self) -> Reloaded:
        """Ask the parent for a reload, and wait for what comes of it.

        Raises:
            ControlError: the server stops.
        """
        self._asked += 1
        number = self._asked
        if not self._is_stopping:
            self._send(orders.ReloadPlease())
            self._reloads[number] = None
        while not (self._is_stopping or self._reloads[number]):
            await self._has_news.wait()
        reloaded = self._reloads.pop(number, None)
        if reloaded is None:
            raise ControlError(Fault.UNAVAILABLE, "the server is about to stop")
        outcome = reloaded.outcome
        return Reloaded(outcome.source, tuple(str(outcome).splitlines()), outcome.warnings)

    def drain(self, delay: float) -> None:
        """Ask the parent to drain the server."""
        self._send(orders.DrainPlease(delay))

    def _wake(self) -> None:
        self._has_news.set()
        self._has_news = trio.Event()

    def _send(self, message: object) -> None:
        try:
            self._channel.send(message)
        except OSError as error:
            raise ControlError(Fault.UNAVAILABLE, f"the server cannot be told: {error.strerror}") from None
