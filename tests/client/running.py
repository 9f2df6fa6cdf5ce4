"""Run the library under either backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from tests.background import PATIENCE

__all__ = ["run"]


def run(backend: str, function: Callable[..., Awaitable[bytes | None]], *arguments: object) -> bytes | None:
    async def go() -> bytes | None:
        with anyio.fail_after(PATIENCE):
            return await function(*arguments)

    return anyio.run(go, backend=backend)
