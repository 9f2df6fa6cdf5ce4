"""What is known of hops from the requests that went through them: who rests, for how long, and how quick each one is.

1. A hop that fails rests, each time twice as long, up to a limit, and not all at the same moment (jitter).
2. When its rest is over one request tries it, and the others leave it alone until that one knows.
3. A hop is never held to be dead for what the destination did.
4. Nothing is asked of anybody to find this out.
5. A hop that has once been seen to keep what was sent behind its request is trusted to have kept it ever after.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chainsocks.config.hops import Hop
from chainsocks.config.models import HealthSettings
from chainsocks.protocol.address import printable

__all__ = ["LOST_IN_A_ROW", "Health"]

JITTER = 0.25
"""How much longer or shorter a rest is than it would be, so that hops that failed together come back one by one."""

LOST_IN_A_ROW = 3
"""Hedged tries that a hop may lose before that counts as a failure."""

MEMORY = 0.7
"""How much of a dial time is what it was before, and not what was measured last."""

log = logging.getLogger("chainsocks.health")


@dataclass(slots=True)
class _Condition:
    failures: int = 0
    """In a row."""
    lost: int = 0
    """Hedged tries, in a row."""
    rest_until: float = 0
    on_trial: bool = False
    dial_time: float | None = None
    measured_at: float | None = None
    """When somebody last set out to measure it."""


class Health:
    """The condition of all hops of a server, by their names. Times are those of `now`, in seconds."""

    def __init__(
        self, now: Callable[[], float], settings: HealthSettings | None = None, rng: random.Random | None = None
    ) -> None:
        self._now = now
        self._settings = settings or HealthSettings()
        self._random = rng or random.Random()  # noqa: S311  (it spreads rests, and keeps no secret)
        self._conditions: dict[str, _Condition] = {}
        self._keeping: set[str] = set()

    def rests(self, hop: Hop) -> bool:
        """Whether it has failed lately and is to be left alone; see `chainsocks.routing.pick.Known`."""
        condition = self._conditions.get(hop.name)
        return bool(condition and condition.failures and (condition.on_trial or self._now() < condition.rest_until))

    def dial_time(self, hop: Hop) -> float | None:
        """Seconds that dials through it take, the last ones counting most; None where nobody has measured them."""
        condition = self._conditions.get(hop.name)
        return condition.dial_time if condition else None

    def wants_measuring(self, hop: Hop) -> bool:
        """Whether its dial time is unknown or out of date, and nobody is at it."""
        condition = self._conditions.get(hop.name)
        measured_at = condition.measured_at if condition else None
        return measured_at is None or self._now() >= measured_at + self._settings.remeasure

    def keeps(self, hop: Hop) -> bool:
        """Whether a dial has shown that the hop keeps what is sent behind its request (`Pipeline.CHAIN`)."""
        return hop.name in self._keeping

    def kept(self, hops: Iterable[Hop]) -> None:
        """Hear that hops have kept what was sent behind their requests."""
        self._keeping.update(hop.name for hop in hops)

    def started(self, hops: Iterable[Hop]) -> None:
        """Hear that a request sets out through `hops`; `succeeded`, `failed` or `dropped` follows for each."""
        now = self._now()
        for hop in hops:
            condition = self._condition(hop)
            if condition.failures and now >= condition.rest_until:
                condition.on_trial = True
            if self.wants_measuring(hop):
                condition.measured_at = now

    def succeeded(self, hops: Iterable[Hop], seconds: float) -> None:
        """Hear that a dial came through, and how long it took in all."""
        for hop in hops:
            condition = self._condition(hop)
            if condition.failures:
                log.info("hop %s is back", printable(hop.name))
            before = seconds if condition.dial_time is None else condition.dial_time
            condition.dial_time = before * MEMORY + seconds * (1 - MEMORY)
            condition.measured_at = self._now()
            condition.failures = condition.lost = 0
            condition.on_trial = False

    def failed(self, hop: Hop, why: object) -> None:
        """Hear that a hop has failed; it rests now."""
        condition = self._condition(hop)
        now = self._now()
        condition.on_trial = False
        condition.lost = 0
        if now < condition.rest_until:
            return  # somebody else has told us of the same trouble, or nobody but it was left
        rest = min(self._settings.rest * 2.0**condition.failures, self._settings.longest_rest)
        rest *= self._random.uniform(1 - JITTER, 1 + JITTER)
        condition.failures += 1
        condition.rest_until = now + rest
        condition.measured_at = None  # whoever comes back is measured anew
        log.warning("hop %s rests for %.1f s: %s", printable(hop.name), rest, why)

    def lost(self, hop: Hop) -> None:
        """Hear that a hedge has overtaken a try that was waiting for this hop."""
        condition = self._condition(hop)
        condition.lost += 1
        if condition.lost >= LOST_IN_A_ROW:
            self.failed(hop, f"it was too slow for its hedge, {LOST_IN_A_ROW} times in a row")

    def dropped(self, hops: Iterable[Hop]) -> None:
        """Hear that a request has ended without a word about `hops`."""
        for hop in hops:
            self._condition(hop).on_trial = False

    def _condition(self, hop: Hop) -> _Condition:
        return self._conditions.setdefault(hop.name, _Condition())
