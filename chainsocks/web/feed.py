"""The view as server-sent events: built once for all pages that watch, and not at all while none does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import trio

from chainsocks.control.messages import ControlError
from chainsocks.web.source import Source
from chainsocks.web.view import History, build_view

__all__ = ["INTERVAL", "MOST_WATCHERS", "Feed"]

INTERVAL = 1.0
"""Seconds from one view to the next."""

MOST_WATCHERS = 64
"""Pages that may be open at a time."""


class Feed:
    """Builds a view each second while something watches; `run` does that until it is cancelled."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._history = History()
        self._watchers = 0
        self._wanted = trio.Event()
        self._news = trio.Event()
        self._latest = ""

    async def run(self) -> None:
        """Build views."""
        while True:
            await self._wanted.wait()
            self._latest = await self._build()
            news, self._news = self._news, trio.Event()
            news.set()
            await trio.sleep(INTERVAL)

    @property
    def is_full(self) -> bool:
        """Whether no further page can be served."""
        return self._watchers >= MOST_WATCHERS

    async def watch(self) -> AsyncIterator[str]:
        """Yield the views from now on, as events. One that comes while the last is still being sent is left out."""
        self._watchers += 1
        self._wanted.set()
        try:
            while True:
                await self._news.wait()
                yield self._latest
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._wanted = trio.Event()

    async def _build(self) -> str:
        try:
            return f"event: view\ndata: {json.dumps(await build_view(self._source, self._history))}\n\n"
        except ControlError as error:
            return f"event: trouble\ndata: {json.dumps(str(error))}\n\n"
