"""A ceiling for tests that hang: they fail, and show where they wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import wraps
from inspect import iscoroutinefunction
from typing import ParamSpec

import pytest
import trio
from trio.testing import MockClock

__all__ = ["pytest_runtest_call"]

CEILING = 60
"""Real seconds. None of these tests takes one."""

VIRTUAL_CEILING = 1e12
"""Seconds on a mock clock, which gets there at once when nothing else is left to wait for."""

P = ParamSpec("P")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before trio's plugin makes a plain function of the test
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Put every asynchronous test of a folder under the ceiling; for the ``conftest.py`` of that folder."""
    if isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
        item.obj = _bounded(item.obj)
    return (yield)


def _bounded(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    @wraps(test)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> None:
        virtual = isinstance(trio.lowlevel.current_clock(), MockClock)
        with trio.fail_after(VIRTUAL_CEILING if virtual else CEILING):
            await test(*args, **kwargs)

    return bounded
