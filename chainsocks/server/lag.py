"""How late the event loop is: what tells of a loop that something holds up.

A task sleeps for a while again and again, and sees how much later than it wanted it is woken. Sleeps are long, so that
they cost next to nothing, and short while a question is answered that has to do with all sessions.
"""

from __future__ import annotations

import trio

__all__ = ["LagMeter"]

COARSE, FINE = 0.5, 0.005
"""Seconds of a sleep. What holds up the loop for less than one may not be seen in full."""

CLOSE_LOOK = 1.0
"""Seconds for which sleeps are short."""

WINDOW = 10.0
"""Seconds for which the worst lag counts at least; twice as long at most."""


class LagMeter:
    """See the module; `run` measures."""

    def __init__(self) -> None:
        self._worst = self._worst_before = 0.0
        self._window_ends = trio.current_time() + WINDOW
        self._close_until = 0.0
        self._sleep = trio.CancelScope()

    @property
    def worst(self) -> float:
        """The worst lag in the last seconds."""
        return max(self._worst, self._worst_before)

    def look_closely(self) -> None:
        """Measure well what the loop does now."""
        self._close_until = trio.current_time() + CLOSE_LOOK
        self._sleep.cancel()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            now = trio.current_time()
            due = now + (FINE if now < self._close_until else COARSE)
            with trio.CancelScope() as self._sleep:
                await trio.sleep_until(due)
            now = trio.current_time()
            if now >= self._window_ends:
                self._worst_before, self._worst = self._worst, 0.0
                self._window_ends = now + WINDOW
            self._worst = max(self._worst, now - due)
