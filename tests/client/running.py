"""Run the library under either backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from tests.background import PATIENCE

__all__ = ["run"]


ResultT = TypeVar("ResultT")


def run(backend: str, function: Callable[..., Awaitable[ResultT]], *arguments: object) -> ResultT:
    async def go() -> ResultT:
        with anyio.fail_after(PATIENCE):
            return await function(*arguments)

    return anyio.run(go, backend=backend)
