"""Servers on loopback in a thread of their own, so that a test is free to run whatever event loop it likes."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config
from chainsocks.protocol.address import Address, parse_address
from chainsocks.server.serve import serve

__all__ = ["PATIENCE", "Background", "Script", "running_background", "wait_until"]

PATIENCE = 20.0
"""Seconds after which something that has not happened will not happen."""

LOOPBACK = Address("127.0.0.1", 0)

Handler = Callable[[trio.SocketStream], Awaitable[None]]


class Background:
    """The thread, and what is started in it; all of it ends with `running_background`."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal
        self._stopping = trio.Event()
        self._tasks: list[Future[None]] = []

    def proxy(self, config: Config | None = None) -> Address:
        """Run one of our servers, and return its address; where `config` wants to listen does not count."""
        config = config or Config()
        server, timeouts = replace(config.server, listen=(Listener(LOOPBACK),)), replace(config.timeouts, grace=1)
        config = replace(config, server=server, timeouts=timeouts)
        task, [address] = self._portal.start_task(functools.partial(serve, config, self._stopping))
        self._tasks.append(task)
        return parse_address(address)

    def listen(self, handler: Handler) -> Address:
        """Run `handler` for each connection to the returned address."""
        address: Address
        task, address = self._portal.start_task(_listen, handler, self._stopping)
        self._tasks.append(task)
        return address

    def stop(self) -> None:
        """End all of it."""
        self._portal.call(self._stopping.set)

    def check(self) -> None:
        """Raise what a server did not survive."""
        for task in self._tasks:
            task.result()


@contextmanager
def running_background() -> Iterator[Background]:
    """Run the thread, and fail if something in it did."""
    with start_blocking_portal("trio") as portal:
        background = Background(portal)
        try:
            yield background
        finally:
            background.stop()
    background.check()


async def _listen(handler: Handler, stopping: trio.Event, task_status: trio.TaskStatus[Address]) -> None:
    async def serve_one(stream: trio.SocketStream) -> None:
        try:
            await handler(stream)
        except trio.BrokenResourceError:
            pass  # the client is gone; what it misses, the test misses as well

    listeners = await trio.open_tcp_listeners(LOOPBACK.port, host=LOOPBACK.host)
    address = Address(*listeners[0].socket.getsockname())
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve_one, listeners)
        task_status.started(address)
        await stopping.wait()
        nursery.cancel_scope.cancel()


class Script:
    """A peer that gives its answers one by one, each to whatever it hears next, and then listens to the end.

    An empty answer closes the connection.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.heard: list[bytes] = []
        self.addressed = threading.Event()
        """Set when the first word has been heard."""
        self.left = threading.Event()
        """Set when a client has finished, or is gone."""

    async def __call__(self, stream: trio.SocketStream) -> None:
        answers = iter(self.answers)
        try:
            while data := await stream.receive_some():
                self.heard.append(data)
                self.addressed.set()
                answer = next(answers, None)
                if answer == b"":
                    return
                if answer:
                    await stream.send_all(answer)
        finally:
            self.left.set()


def wait_until(true: Callable[[], bool]) -> None:
    """Ask again and again, of what another process or thread does."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.005)
