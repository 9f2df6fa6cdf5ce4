"""The thread that runs trio for callers that do not: blocking code, and asyncio.

There is one for the process. It starts with the first call, and is a daemon: it does not keep the process alive. When
the process ends, relays send on what their callers have sent; then everything is cancelled. After a fork the child
starts a thread of its own, and what ran in the parent's is not there.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import trio

from chainsocks.config.models import Timeouts

__all__ = ["Background", "Lasting", "background"]

ResultT = TypeVar("ResultT")


class Lasting(Protocol):
    """Something that goes on when its caller has got what it wanted."""

    async def run(self) -> None:
        """Run to the end."""

    def finish(self) -> None:
        """Come to an end soon: the process is about to leave."""


@dataclass(frozen=True, slots=True)
class Background:
    """The thread's event loop."""

    _token: trio.lowlevel.TrioToken
    _calls: trio.Nursery
    _nursery: trio.Nursery
    _stopping: trio.Event
    _lasting: set[Lasting] = field(default_factory=set)

    def start(self, function: Callable[[], Awaitable[ResultT]]) -> Future[ResultT]:
        """Run `function` in the thread, called from another one; cancelling the future cancels it."""
        future: Future[ResultT] = Future()
        self._token.run_sync_soon(self._calls.start_soon, self._call, function, future)
        return future

    async def _call(self, function: Callable[[], Awaitable[ResultT]], future: Future[ResultT]) -> None:
        scope = trio.CancelScope()

        def cancel(future: Future[ResultT]) -> None:
            if future.cancelled():
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(scope.cancel)

        future.add_done_callback(cancel)
        try:
            with scope:
                result = await function()
        except Exception as error:  # noqa: BLE001  (it is the caller's)
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        except BaseException:  # the thread ends
            future.cancel()
            raise
        else:
            if not scope.cancelled_caught and future.set_running_or_notify_cancel():
                future.set_result(result)

    def keep(self, lasting: Lasting) -> None:
        """Run something that outlives the call which starts it, in the thread."""
        self._lasting.add(lasting)
        self._nursery.start_soon(self._run, lasting)

    async def _run(self, lasting: Lasting) -> None:
        try:
            await lasting.run()
        finally:
            self._lasting.discard(lasting)

    def stop(self) -> None:
        """End the thread, called from another one."""
        self._token.run_sync_soon(self._stopping.set)

    async def wind_up(self) -> None:
        """Wait for the call of `stop`; then cancel all calls, and have what was kept come to an end soon."""
        await self._stopping.wait()
        self._calls.cancel_scope.cancel()
        for each in [*self._lasting]:
            each.finish()
        self._nursery.cancel_scope.deadline = trio.current_time() + Timeouts().reply


class _Threads:
    """The thread of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[Background, threading.Thread] | None = None
        self._lost: list[object] = []
        """Threads of the parent. They are kept, since collecting them would close what the parent uses, too."""

    def get(self) -> Background:
        with self._lock:
            if self._running is None:
                ready: Future[Background] = Future()
                thread = threading.Thread(target=_run, args=(ready,), name="chainsocks", daemon=True)
                thread.start()
                self._running = ready.result(), thread
            return self._running[0]

    def stop(self) -> None:
        """End the thread, and wait until it has."""
        with self._lock:
            running, self._running = self._running, None
        if running:
            opened, thread = running
            opened.stop()
            thread.join()

    def forget(self) -> None:
        """Start anew in a child."""
        self._lost.append(self._running)
        self._running = None
        self._lock = threading.Lock()


def background() -> Background:
    """Return the thread of this process; start it if there is none."""
    return _THREADS.get()


def _run(ready: Future[Background]) -> None:
    try:
        trio.run(_serve_calls, ready)
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)


async def _serve_calls(ready: Future[Background]) -> None:
    async with trio.open_nursery() as nursery, trio.open_nursery() as calls:
        background = Background(trio.lowlevel.current_trio_token(), calls, nursery, trio.Event())
        ready.set_result(background)
        await background.wind_up()


_THREADS = _Threads()
atexit.register(_THREADS.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_THREADS.forget)
