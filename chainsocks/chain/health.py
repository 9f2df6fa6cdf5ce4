"""Hop health: backoff after failures, and measured dial time.

1. A hop that fails is in backoff: requests use it only where no other hop is left. Each backoff in a row is twice as
   long as the one before, up to a limit, with jitter.
2. A failed TCP connection counts for the address, and with it for all hops there; a later failure counts for the
   identity of the hop (`chainsocks.chain.blame.Suspect`).
3. After the backoff one request tries the hop, and other requests still avoid it until that one knows. Where a health
   check runs (`chainsocks.server.health_checks`), the check does that instead of a request.
4. A failure after the request to a destination may be the destination's. The hop is avoided for that host only, for the
   time of a first backoff. It goes into backoff when its last `MISSED_IN_A_ROW` requests, to as many hosts, failed and
   another hop reached each of them. Where a check has a target, that check decides instead.
5. A greeting neither ends nor causes the backoff of a hop that failed at a request.
6. Only requests measure the dial time. A health check takes another route, whose time could not be compared.
7. A hop that has passed on data sent behind its request supports pipelining, and is trusted to do so from then on.

Nothing is sent from here: all knowledge comes from dials and checks, which record what they saw.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.config.hops import Contact, Hop, Identity
from chainsocks.config.models import HealthSettings
from chainsocks.datagrams import Recent
from chainsocks.observe.privacy import private, shown
from chainsocks.protocol.address import Address, canonical, printable

__all__ = ["AVOIDED", "JITTER", "LOST_IN_A_ROW", "MISSED_IN_A_ROW", "Health", "Outlook", "Towards", "host_key"]

JITTER = 0.25
"""The share by which a backoff is made longer or shorter, so that hops that failed together come back one by one."""

LOST_IN_A_ROW = 3
"""Hedges that may overtake a hop, one after the other, before that counts as a failure."""

MISSED_IN_A_ROW = 3
"""Requests, one after the other and each to another host, that fail at a hop and not at others, until it has failed."""

AVOIDED = 512
"""Pairs of a hop and a host that are remembered at least; twice as many at most."""

MEMORY = 0.7
"""The weight of the earlier dial times in their moving average."""

log = logging.getLogger("chainsocks.health")


@dataclass(slots=True)
class _Backoff:
    """The failures of an address, or of one identity at it, since a dial last succeeded."""

    name: str = ""
    """Of the hop that failed last."""
    failures: int = 0
    """In a row, of requests. A check that succeeds in between does not count as a dial."""
    is_down: bool = False
    """Whether it has failed, and nothing has shown since that it works."""
    since: float = 0
    """When it failed, after a time in which it worked."""
    until: float = 0
    why: str = ""
    """The failure that came last."""
    on_trial: bool = False
    """Whether a request is trying it after its backoff."""
    greeting_is_proof: bool = False
    """Whether an answered greeting shows that it works again."""


@dataclass(slots=True)
class _Miss:
    """A request to a host that has failed after it was sent."""

    host: str
    another_reached: bool = False
    """Whether the same request succeeded through another hop."""


@dataclass(frozen=True, slots=True)
class _Check:
    """A health check of a hop."""

    on_down: Callable[[], None]
    on_doubt: Callable[[], None] | None


@dataclass(slots=True)
class _Record:
    """What is known of an identity that has been used."""

    last_success: float = -math.inf
    lost: int = 0
    """Hedges that overtook it before its request was sent, in a row."""
    missed: deque[_Miss] = field(default_factory=lambda: deque(maxlen=MISSED_IN_A_ROW))
    """The last requests that failed, since one succeeded."""
    dial_time: float | None = None
    measured_at: float | None = None
    """When a request last set out to measure it; None where a new measurement is due."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a hop, for people. Times are those of `Health`; minus infinity is never."""

    rested_since: float | None
    """When `Health.rest` was called; None if it is not rested."""
    failed_since: float | None
    """When it failed, after a time in which it worked; None if it is not in backoff."""
    failures: int
    """In a row."""
    why: str
    """The last of these failures."""
    retry: float
    """When it may be tried again."""
    dial_time: float | None
    last_success: float


class Health:
    """The health of the hops of a server, or of a process with the library. Times are those of `now`, in seconds."""

    def __init__(
        self, now: Callable[[], float], settings: HealthSettings | None = None, rng: random.Random | None = None
    ) -> None:
        self._now = now
        self._settings = settings or HealthSettings()
        self._random = rng or random.Random()  # noqa: S311  (it spreads backoffs, and keeps no secret)
        self._backoffs: dict[Identity | Contact, _Backoff] = {}
        self._records: dict[Identity, _Record] = {}
        self._checkers: dict[Identity, _Check] = {}
        self._avoided = Recent[tuple[Identity, str], float](AVOIDED)
        self._pipelining: set[Identity] = set()
        self._rested: dict[Identity, float] = {}
        self.backoffs: Counter[str] = Counter()
        """How often each hop, by its name, went into backoff."""

    def change(self, settings: HealthSettings, hops: Iterable[Hop]) -> None:
        """Go on with other settings. What is known of hops that are not among `hops` is forgotten."""
        self._settings = settings
        kept = {key for hop in hops for key in (hop.identity, hop.contact)}
        self._backoffs = {key: backoff for key, backoff in self._backoffs.items() if key in kept}
        self._records = {key: record for key, record in self._records.items() if key in kept}
        self._pipelining &= {key for key in kept if isinstance(key, Identity)}
        self._rested = {key: since for key, since in self._rested.items() if key in kept}

    def in_backoff(self, hop: Hop) -> bool:
        """Tell whether requests should avoid it; see `chainsocks.routing.pick.Known`."""
        if self._rested and hop.identity in self._rested:
            return True
        if not self._backoffs:  # the usual case, and every member of a group is asked about for each request
            return False
        now = self._now()
        return any(
            backoff.is_down and (backoff.on_trial or now < backoff.until or self._is_left_to_check(hop, backoff))
            for _, backoff in self._backoffs_of(hop)
        )

    def towards(self, host: str) -> Towards:
        """Return what is known of hops for requests to `host`, in the form of `host_key`."""
        return Towards(self, host)

    def is_avoided(self, hop: Hop, host: str) -> bool:
        """Tell whether a request to `host` has failed there lately."""
        return len(self._avoided) > 0 and self._now() < (self._avoided.peek((hop.identity, host)) or -math.inf)

    def outlook(self, hop: Hop) -> Outlook:
        """Return what is known of a hop."""
        record = self._records.get(hop.identity) or _Record()
        down = [backoff for _, backoff in self._backoffs_of(hop) if backoff.is_down]
        worst = max(down, key=lambda backoff: backoff.until, default=None)
        return Outlook(
            self._rested.get(hop.identity),
            worst.since if worst else None,
            worst.failures if worst else 0,
            worst.why if worst else "",
            worst.until if worst else -math.inf,
            record.dial_time,
            record.last_success,
        )

    def rest(self, hop: Hop) -> None:
        """Have requests avoid a hop as in backoff, until `wake`, whatever else is learnt of it."""
        log.info("hop %s is rested by hand", printable(hop.name))
        self._rested.setdefault(hop.identity, self._now())

    def wake(self, hop: Hop) -> None:
        """End the rest of a hop, and its backoff: the next request may use it."""
        log.info("hop %s is woken by hand", printable(hop.name))
        self._rested.pop(hop.identity, None)
        self._forget_failures(hop)

    def backoff_ends(self, hop: Hop) -> float:
        """Return when it may be tried again; infinite for a hop that is not down."""
        return max((backoff.until for _, backoff in self._backoffs_of(hop) if backoff.is_down), default=math.inf)

    def last_success(self, hop: Hop) -> float:
        """Return when a dial or a check last went through it; minus infinity for never."""
        record = self._records.get(hop.identity)
        return record.last_success if record else -math.inf

    @contextmanager
    def checking(
        self, hop: Hop, on_down: Callable[[], None], on_doubt: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Leave it to the caller, a health check, to try `hop` after a backoff. `on_down` is called when one begins.

        A check with a target decides about failed requests as well: `on_doubt` is called for each.
        """
        self._checkers[hop.identity] = _Check(on_down, on_doubt)
        try:
            yield
        finally:
            del self._checkers[hop.identity]

    def dial_time(self, hop: Hop) -> float | None:
        """Return the seconds that dials through it take, as a moving average; None where none was measured."""
        record = self._records.get(hop.identity)
        return record.dial_time if record else None

    def wants_measuring(self, hop: Hop) -> bool:
        """Tell whether its dial time is unknown or out of date, and no request is measuring it."""
        record = self._records.get(hop.identity)
        measured_at = record.measured_at if record else None
        return measured_at is None or self._now() >= measured_at + self._settings.remeasure

    def supports_pipelining(self, hop: Hop) -> bool:
        """Tell whether a dial has shown that it passes on data sent behind its request (`Pipeline.CHAIN`)."""
        return hop.identity in self._pipelining

    def record_pipelining(self, hops: Iterable[Hop]) -> None:
        """Record that hops have passed on data that was sent behind their requests."""
        self._pipelining.update(hop.identity for hop in hops)

    def record_start(self, hops: Iterable[Hop]) -> None:
        """Record that an attempt begins; `record_success`, `record_failure` or `release_trial` follows for each hop."""
        now = self._now()
        for hop in hops:
            for _, backoff in self._backoffs_of(hop):
                if backoff.is_down and now >= backoff.until:
                    backoff.on_trial = True
            if self.wants_measuring(hop):
                self._record(hop).measured_at = now

    def record_success(self, hops: Iterable[Hop], seconds: float | None, host: str = "") -> None:
        """Record that a dial to `host` succeeded, and how long it took in all.

        None stands for a request on a warm way. It proves nothing for a hop that has failed before a request since.
        """
        for hop in hops:
            if self._avoided.peek((hop.identity, host)):
                self._avoided[hop.identity, host] = -math.inf
            if seconds is None:
                self._record_answered_request(hop)
                continue
            record = self._record(hop)
            before = seconds if record.dial_time is None else record.dial_time
            record.dial_time = before * MEMORY + seconds * (1 - MEMORY)
            record.measured_at = self._now()
            self._record_life(hop)
            self._forget_failures(hop)

    def record_connects(self, hops: Iterable[Hop]) -> None:
        """Record that hops have connected to what they were asked for, in a time that says nothing of dials."""
        for hop in hops:
            self._record_life(hop)
            self._forget_failures(hop)

    def record_greeting(self, hop: Hop) -> None:
        """Record that a hop has answered a greeting, and a login if it has one.

        That proves nothing for a hop that failed at a request: its backoff goes on, and then one request tries it. And
        the next failure of any hop still makes a longer backoff than the last one did.
        """
        for _, backoff in self._backoffs_of(hop):
            if backoff.greeting_is_proof:
                self._end(backoff)
        if not any(backoff.is_down for _, backoff in self._backoffs_of(hop)):
            self._record(hop).last_success = self._now()

    def record_answer(self, hop: Hop) -> None:
        """Record that a hop has answered a request of a check with a refusal that is no failure of the hop.

        That proves as much as a greeting; once a backoff is over, it ends that of a failed request as well.
        """
        now = self._now()
        for _, backoff in self._backoffs_of(hop):
            if now >= backoff.until:
                self._end(backoff)
        self.record_greeting(hop)

    def record_failure(self, suspect: Suspect, why: object) -> None:
        """Record that a hop has failed; its address or its identity is in backoff from now on."""
        hop, now = suspect.hop, self._now()
        record = self._record(hop)
        record.lost = 0
        if suspect.at is not FailedAt.CONNECT and (address := self._backoffs.get(hop.contact)):
            self._end(address)  # it was connected to
        backoff = self._backoffs.setdefault(suspect.key, _Backoff())
        backoff.on_trial = False
        if now < backoff.until:
            return  # the same trouble, seen by another request; or no other hop was left
        seconds = min(self._settings.rest * 2.0**backoff.failures, self._settings.longest_rest)
        seconds *= self._random.uniform(1 - JITTER, 1 + JITTER)
        backoff.name = hop.name
        backoff.why = f"{suspect.note}{why}"
        backoff.failures += 1
        if not backoff.is_down:
            backoff.since = now
        backoff.is_down = True
        backoff.until = now + seconds
        backoff.greeting_is_proof = suspect.at is not FailedAt.REQUEST
        record.measured_at = None  # measured anew when it works again
        self.backoffs[hop.name] += 1
        what = printable(hop.name), seconds, suspect.note, shown(why)
        log.warning("hop %s in backoff for %.1f s: %s%s", *what, extra={"subject": hop.name})
        for identity, check in list(self._checkers.items()):
            if suspect.key in (identity, identity.contact):
                check.on_down()

    def record_miss(self, hop: Hop, host: str, why: object) -> None:
        """Record that a request to `host` failed at `hop` after it was sent: those to the host avoid it for a time."""
        seconds = self._settings.rest
        self._avoided[hop.identity, host] = self._now() + seconds
        self._record(hop).missed.append(_Miss(host))
        name, target = printable(hop.name), private(printable(host), "a destination")
        log.info("hop %s avoided for %s for %.1f s: %s", name, target, seconds, shown(why))
        check = self._checkers.get(hop.identity)
        if check and check.on_doubt:
            check.on_doubt()

    def confirm_miss(self, suspect: Suspect, host: str, why: object) -> None:
        """Record that another hop has reached `host`, after `record_miss`."""
        hop, missed = suspect.hop, self._record(suspect.hop).missed
        for miss in reversed(missed):
            if miss.host == host:
                miss.another_reached = True
                break
        check = self._checkers.get(hop.identity)
        if check and check.on_doubt:
            return
        hosts = {miss.host for miss in missed if miss.another_reached}
        if len(hosts) == MISSED_IN_A_ROW:
            note = f"its last {MISSED_IN_A_ROW} requests failed, and other hops reached the same hosts: "
            self.record_failure(Suspect(hop, FailedAt.REQUEST, note + suspect.note), why)

    def record_hedge_loss(self, hop: Hop) -> None:
        """Record that a hedged attempt finished before this hop was ready for its request."""
        record = self._record(hop)
        record.lost += 1
        if record.lost >= LOST_IN_A_ROW:
            why = f"it was too slow for its hedge, {LOST_IN_A_ROW} times in a row"
            self.record_failure(Suspect(hop, FailedAt.REQUEST), why)

    def release_trial(self, hops: Iterable[Hop]) -> None:
        """Record that an attempt has ended, so that another request may try the hops of which it has shown nothing."""
        for hop in hops:
            for _, backoff in self._backoffs_of(hop):
                backoff.on_trial = False

    def _record_answered_request(self, hop: Hop) -> None:
        """Record that a hop has done its part in a request on a way that was open before."""
        for key, backoff in list(self._backoffs_of(hop)):
            if not backoff.greeting_is_proof:
                self._end(backoff)
                del self._backoffs[key]
        record = self._record(hop)
        record.lost = 0
        record.missed.clear()
        if not any(backoff.is_down for _, backoff in self._backoffs_of(hop)):
            record.last_success = self._now()

    def _record_life(self, hop: Hop) -> None:
        for _, backoff in self._backoffs_of(hop):
            self._end(backoff)
        record = self._record(hop)
        record.last_success = self._now()
        record.lost = 0
        record.missed.clear()

    def _is_left_to_check(self, hop: Hop, backoff: _Backoff) -> bool:
        """Whether a health check will try a hop after its backoff, and can tell that it works again."""
        check = self._checkers.get(hop.identity)
        return check is not None and (backoff.greeting_is_proof or check.on_doubt is not None)

    def _end(self, backoff: _Backoff) -> None:
        if backoff.is_down:
            log.info("hop %s is back", printable(backoff.name))
        backoff.is_down = backoff.on_trial = False

    def _forget_failures(self, hop: Hop) -> None:
        for key, _ in list(self._backoffs_of(hop)):
            del self._backoffs[key]

    def _backoffs_of(self, hop: Hop) -> Iterator[tuple[Identity | Contact, _Backoff]]:
        if self._backoffs:
            for key in (hop.contact, hop.identity):
                if backoff := self._backoffs.get(key):
                    yield key, backoff

    def _record(self, hop: Hop) -> _Record:
        return self._records.setdefault(hop.identity, _Record())


class Towards:
    """What is known of hops for requests to one host: a `chainsocks.routing.pick.Known`."""

    __slots__ = ("_health", "_host")

    def __init__(self, health: Health, host: str) -> None:
        self._health = health
        self._host = host

    def in_backoff(self, hop: Hop) -> bool:
        """Tell whether requests to the host should avoid a hop, if only for its sake."""
        return self._health.in_backoff(hop) or self._health.is_avoided(hop, self._host)

    def dial_time(self, hop: Hop) -> float | None:
        """Return the seconds that dials through a hop take, whatever their destinations."""
        return self._health.dial_time(hop)

    def wants_measuring(self, hop: Hop) -> bool:
        """Tell whether the dial time of a hop is unknown or out of date."""
        return self._health.wants_measuring(hop)


def host_key(destination: Address) -> str:
    """Return the host by which failures of requests are remembered, whatever its spelling; ports do not count."""
    return canonical(destination).host.lower().rstrip(".")
