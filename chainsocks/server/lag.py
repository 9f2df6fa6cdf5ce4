"""How late the event loop is, which shows whether something holds it up.

A task sleeps again and again, and measures how late it is woken. One waking takes 150,000 instructions, as many as a
quarter of a session. So sleeps are long while the lag is not asked for, shorter for some minutes after each question,
and very short while a question about all sessions is answered.
"""

from __future__ import annotations

import math

import trio

__all__ = ["LagMeter"]

RARE, COARSE, FINE = 5.0, 0.5, 0.005
"""Seconds of a sleep. What holds up the loop for less than one may not be seen in full."""

ATTENTION = 180.0
"""Seconds after a question for which sleeps are `COARSE`: a monitoring system asks more often than that."""

CLOSE_LOOK = 1.0
"""Seconds for which sleeps are `FINE`."""

WINDOW = 10.0
"""Seconds for which the worst lag counts at least; twice as long at most, and a sleep."""


class LagMeter:
    """See the module; `run` measures."""

    def __init__(self) -> None:
        self._worst = self._worst_before = 0.0
        self._window_ends = trio.current_time() + WINDOW
        self._close_until = self._attentive_until = -math.inf
        self._sleep = trio.CancelScope()

    def ask(self) -> float:
        """Return the worst lag in the last seconds, and measure more often from now on."""
        self._attend()
        return max(self._worst, self._worst_before)

    def look_closely(self) -> None:
        """Measure well what the loop does now."""
        self._close_until = trio.current_time() + CLOSE_LOOK
        self._attend()

    def _attend(self) -> None:
        self._attentive_until = trio.current_time() + ATTENTION
        self._sleep.cancel()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            now = trio.current_time()
            due = now + (FINE if now < self._close_until else COARSE if now < self._attentive_until else RARE)
            with trio.CancelScope() as self._sleep:
                await trio.sleep_until(due)
            now = trio.current_time()
            if now >= self._window_ends:
                self._worst_before, self._worst = self._worst, 0.0
                self._window_ends = now + WINDOW
            self._worst = max(self._worst, now - due)
