"""A ceiling for every test: one that hangs fails under its own name, and its traceback shows where it waits.

1. On a mock clock, an asynchronous test that has nothing left to wait for is cancelled at once: a hang costs no time.
2. SIGALRM ends whatever runs too long in real time. It cancels an asynchronous test. It raises in fixtures, in
   synchronous tests, and in a test that is not over yet when it comes again.
3. Code that never returns to the interpreter is ended with its process by faulthandler; pytest-xdist names the test
   that was running. pytest itself would start and end a thread for that in each test, which costs more than many tests.
"""

from __future__ import annotations

import faulthandler
import math
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from inspect import iscoroutinefunction
from types import FrameType
from typing import ParamSpec

import pytest
import trio
from _pytest.faulthandler import fault_handler_stderr_fd_key
from trio.testing import MockClock

__all__ = ["bounded", "limited"]

VIRTUAL_CEILING = 1e12
"""Seconds on a mock clock, which gets there at once when nothing else is left to wait for."""

CEILING = 90.0
"""Real seconds for each phase of any test: its set-up, its call, its teardown."""

CEILING_ON_MOCK_CLOCK = 30.0
"""Real seconds for the call of a test on a mock clock: its timers cost nothing, so it is the sooner beyond hope."""

LAST_RESORT = 300.0
"""Real seconds after which the process ends; up to a third less for a test that does not set them anew."""

P = ParamSpec("P")


class TooLong(BaseException):
    """A test has hit its ceiling. No ``except Exception`` on the way swallows it."""


_last_resort_at = -math.inf
"""When the process will end."""

_cancels: list[Callable[[], None]] = []
"""Cancels the asynchronous test that is running."""


@contextmanager
def limited(seconds: float = CEILING) -> Iterator[None]:
    """Cancel the asynchronous test in the body when it runs for more than `seconds`, or else raise `TooLong` in it.

    It is raised again after each further half of the time, for code that swallows the first one, and at the end if the
    body has come there all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals arrive in the main thread only
        return

    swallowed: TooLong | None = None

    def ring(_number: int, _frame: FrameType | None) -> None:
        nonlocal swallowed
        if _cancels:
            _cancels.pop()()
        else:
            swallowed = TooLong(f"not finished after {seconds:g} s")
            raise swallowed

    outer = signal.setitimer(signal.ITIMER_REAL, 0)
    handler = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(seconds, outer[0] or seconds), seconds / 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *outer)
    if swallowed:
        raise swallowed  # with its traceback, which shows where the time went


def bounded(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Wrap an asynchronous test so that it can be cancelled, and is when a mock clock has nothing left to wait for."""

    @wraps(test)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        virtual = isinstance(trio.lowlevel.current_clock(), MockClock)
        token = trio.lowlevel.current_trio_token()
        waiting: BaseException | None = None
        with trio.move_on_after(VIRTUAL_CEILING if virtual else math.inf) as scope:
            _cancels.append(partial(token.run_sync_soon, scope.cancel))
            try:
                with limited(CEILING_ON_MOCK_CLOCK) if virtual else nullcontext():
                    await test(*args, **kwargs)
            except BaseException as error:
                waiting = error
                raise
            finally:
                _cancels.clear()
        if scope.cancelled_caught:
            raise TooLong("not finished, and it was waiting there") from waiting

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Put off the end of the process, unless it is far enough off."""
    global _last_resort_at
    if (now := time.monotonic()) > _last_resort_at - LAST_RESORT * 2 / 3:
        _last_resort_at = now + LAST_RESORT
        faulthandler.dump_traceback_later(LAST_RESORT, file=item.config.stash[fault_handler_stderr_fd_key], exit=True)


def pytest_exception_interact() -> None:
    """Put it off with the next test: pytest calls it off for a debugger when a test has failed."""
    global _last_resort_at
    _last_resort_at = -math.inf


def pytest_sessionfinish() -> None:
    """Call it off."""
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None]:
    """Limit the fixtures that a test needs."""
    with limited():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before pytest-trio makes a plain function of the test
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Limit the test itself."""
    if isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
        item.obj = bounded(item.obj)
    with limited():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Limit the fixtures' ends."""
    with limited():
        return (yield)
