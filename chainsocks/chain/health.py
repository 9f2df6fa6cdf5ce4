"""What is known of hops from those who went through them: who rests, for how long, and how quick each one is.

1. A hop that fails rests, each time twice as long, up to a limit, and not all at the same moment (jitter).
2. When its rest is over one request tries it, and the others leave it alone until that one knows. A hop that somebody
   watches (`chainsocks.server.checks`) is tried by its watcher instead.
3. A hop is never held to be dead for what the destination did.
4. How quick a hop is, only requests tell: a check goes another way, and its time could not be compared with theirs.
5. A hop that has once been seen to keep what was sent behind its request is trusted to have kept it ever after.
6. Nothing is asked of anybody here to find this out.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chainsocks.config.hops import Hop
from chainsocks.config.models import HealthSettings
from chainsocks.errors import DialError
from chainsocks.protocol.address import printable
from chainsocks.protocol.handshake import State

__all__ = ["JITTER", "LOST_IN_A_ROW", "Health"]

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
    """In a row, for requests: a greeting that is taken in between is no dial that came through."""
    is_down: bool = False
    """Whether it has failed, and nobody has found it well since."""
    takes_greetings: bool = True
    """Whether it may have taken our greeting when it failed, and then not done what it was asked for."""
    last_success: float = -math.inf
    """When it was last seen to live."""
    lost: int = 0
    """Hedged tries, in a row."""
    backoff_until: float = 0
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
        self._checkers: dict[str, Callable[[], None]] = {}
        self._pipelining: set[str] = set()

    def in_backoff(self, hop: Hop) -> bool:
        """Whether it has failed lately and is to be left alone; see `chainsocks.routing.pick.Known`."""
        condition = self._conditions.get(hop.name)
        if not condition or not condition.is_down:
            return False
        return condition.on_trial or hop.name in self._checkers or self._now() < condition.backoff_until

    def backoff_ends(self, hop: Hop) -> float:
        """When somebody may try it again; infinite for a hop that is well."""
        condition = self._conditions.get(hop.name)
        return condition.backoff_until if condition and condition.is_down else math.inf

    def last_success(self, hop: Hop) -> float:
        """When it was last seen to live; minus infinity for never."""
        condition = self._conditions.get(hop.name)
        return condition.last_success if condition else -math.inf

    @contextmanager
    def checking(self, hop: Hop, on_down: Callable[[], None]) -> Iterator[None]:
        """Have nobody but the caller try `hop` after its rest, as long as others live.

        `on_down` is called when it begins to rest.
        """
        self._checkers[hop.name] = on_down
        try:
            yield
        finally:
            del self._checkers[hop.name]

    def dial_time(self, hop: Hop) -> float | None:
        """Seconds that dials through it take, the last ones counting most; None where nobody has measured them."""
        condition = self._conditions.get(hop.name)
        return condition.dial_time if condition else None

    def wants_measuring(self, hop: Hop) -> bool:
        """Whether its dial time is unknown or out of date, and nobody is at it."""
        condition = self._conditions.get(hop.name)
        measured_at = condition.measured_at if condition else None
        return measured_at is None or self._now() >= measured_at + self._settings.remeasure

    def supports_pipelining(self, hop: Hop) -> bool:
        """Whether a dial has shown that the hop keeps what is sent behind its request (`Pipeline.CHAIN`)."""
        return hop.name in self._pipelining

    def record_pipelining(self, hops: Iterable[Hop]) -> None:
        """Hear that hops have kept what was sent behind their requests."""
        self._pipelining.update(hop.name for hop in hops)

    def record_start(self, hops: Iterable[Hop]) -> None:
        """Record that an attempt begins; `record_success`, `record_failure` or `release_trial` follows for each hop."""
        now = self._now()
        for hop in hops:
            condition = self._condition(hop)
            if condition.is_down and now >= condition.backoff_until:
                condition.on_trial = True
            if self.wants_measuring(hop):
                condition.measured_at = now

    def record_success(self, hops: Iterable[Hop], seconds: float) -> None:
        """Hear that a dial came through, and how long it took in all."""
        for hop in hops:
            condition = self._condition(hop)
            before = seconds if condition.dial_time is None else condition.dial_time
            condition.dial_time = before * MEMORY + seconds * (1 - MEMORY)
            condition.measured_at = self._now()
            self._note_well(hop, condition)
            condition.failures = 0

    def record_connects(self, hops: Iterable[Hop]) -> None:
        """Hear that hops have connected to what they were asked for, in no time that could be compared."""
        for hop in hops:
            condition = self._condition(hop)
            self._note_well(hop, condition)
            condition.failures = 0

    def record_greeting(self, hop: Hop) -> None:
        """Hear that a hop has taken our greeting.

        That says nothing about one that has failed at a request: its rest is not cut short. And whoever fails again
        right behind it rests for longer than before.
        """
        condition = self._condition(hop)
        if not (condition.is_down and condition.takes_greetings and self._now() < condition.backoff_until):
            self._note_well(hop, condition)

    def record_failure(self, hop: Hop, why: object) -> None:
        """Hear that a hop has failed; it rests now."""
        condition = self._condition(hop)
        now = self._now()
        condition.on_trial = False
        condition.lost = 0
        if now < condition.backoff_until:
            return  # somebody else has told us of the same trouble, or nobody but it was left
        backoff = min(self._settings.rest * 2.0**condition.failures, self._settings.longest_rest)
        backoff *= self._random.uniform(1 - JITTER, 1 + JITTER)
        condition.failures += 1
        condition.is_down = True
        condition.takes_greetings = _may_take_greetings(hop, why)
        condition.backoff_until = now + backoff
        condition.measured_at = None  # whoever comes back is measured anew
        log.warning("hop %s in backoff for %.1f s: %s", printable(hop.name), backoff, why)
        if on_down := self._checkers.get(hop.name):
            on_down()

    def record_hedge_loss(self, hop: Hop) -> None:
        """Hear that a hedge has overtaken a try that was waiting for this hop."""
        condition = self._condition(hop)
        condition.lost += 1
        if condition.lost >= LOST_IN_A_ROW:
            self.record_failure(hop, f"it was too slow for its hedge, {LOST_IN_A_ROW} times in a row")

    def release_trial(self, hops: Iterable[Hop]) -> None:
        """Hear that a request has ended without a word about `hops`."""
        for hop in hops:
            self._condition(hop).on_trial = False

    def _note_well(self, hop: Hop, condition: _Condition) -> None:
        if condition.is_down:
            log.info("hop %s is back", printable(hop.name))
        condition.last_success = self._now()
        condition.is_down = condition.on_trial = False
        condition.lost = 0

    def _condition(self, hop: Hop) -> _Condition:
        return self._conditions.setdefault(hop.name, _Condition())


def _may_take_greetings(hop: Hop, why: object) -> bool:
    """Whether what a hop has failed with is beyond its greeting: not if it cannot be reached or logged in to."""
    if not isinstance(why, DialError):
        return True
    return why.place.step == State.REQUEST and why.place.address == hop.address
