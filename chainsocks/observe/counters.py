"""What a worker counts, for metrics and for the totals of ``chainsocks status``.

1. A count is taken at the end of a session, of a dial, of a step and of a UDP association; never for a byte or a read.
2. Rows are keyed by enums and by names from the configuration, never by a destination, a client or a user: no client
   can make up a new row.
3. Nothing here is reset. A reload keeps the counters, also those of chains and hops that are gone.
4. What every dial adds is put down in an instant, and counted for many dials at a time (`Histogram`).

What goes up and down, such as the sessions that are open, is not counted: it is read from what exists
(`chainsocks.observe.metrics`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import trio

from chainsocks.config.limits import Limit
from chainsocks.datagrams import Drop
from chainsocks.errors import DialError, HopRefused, Step
from chainsocks.observe.outcomes import Failure, OutcomeKind
from chainsocks.observe.record import Record
from chainsocks.observe.tally import Tally
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command

__all__ = [
    "BOUNDS",
    "MANY",
    "RECENT",
    "Counters",
    "Datagrams",
    "Ended",
    "Histogram",
    "HopTrouble",
    "SessionKey",
    "SessionTotals",
]

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper bounds of the buckets of a histogram, in seconds; one without a bound follows."""

MANY = 512
"""Sessions after whose ends the durations that have been noted are counted, so that the notes stay few."""

RECENT = 20
"""Failed sessions that are remembered, with what the log says of them."""


class SessionKey(NamedTuple):
    """What tells ended sessions apart."""

    command: Command | None
    """None where no request was complete."""
    chain: str
    """The chain as it is configured; empty where none was decided on."""
    outcome: OutcomeKind
    reply: int | None
    """The reply code; None where no reply was owed."""


@dataclass(slots=True)
class SessionTotals:
    """The sessions with one `SessionKey`, and their bytes from and to the clients."""

    is_failure: bool = False
    count: int = 0
    up: int = 0
    down: int = 0


@dataclass(slots=True)
class HopTrouble:
    """The failures of a hop in a row, on dials that have no other hop for its place or have not had one yet."""

    since: float
    """When the first of them was, on trio's clock."""
    requests: int
    """How many requests it had carried out then."""
    why: str = ""
    """The last of them."""
    count: int = 0
    are_certain: bool = False
    """Whether one of them was before the request, so that its destination had no part in it."""


class Ended(NamedTuple):
    """A session that has ended, at a time on trio's clock."""

    at: float
    record: Record


class Histogram:
    """How often something took how long.

    `add` only notes a duration, in seconds: that is a fifth of the work of counting it at once. `gather` counts what is
    noted, and has to be called every now and then; a reader gets all durations in any case.
    """

    __slots__ = ("_counts", "_noted", "_sum", "add")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self._noted: list[float] = []
        self.add: Callable[[float], None] = self._noted.append

    @property
    def counts(self) -> Sequence[int]:
        """A number for each of `BOUNDS`, and one for what took longer."""
        self.gather()
        return self._counts

    @property
    def sum(self) -> float:
        """All durations together, in seconds."""
        self.gather()
        return self._sum

    def gather(self) -> None:
        """Count the durations that are noted."""
        noted = self._noted
        if not noted:
            return
        noted.sort()
        self._sum += math.fsum(noted)
        before = 0
        for index, bound in enumerate(BOUNDS):
            up_to_bound = bisect_right(noted, bound, before)
            self._counts[index] += up_to_bound - before
            before = up_to_bound
        self._counts[-1] += len(noted) - before
        noted.clear()


@dataclass(slots=True)
class Datagrams:
    """The datagrams of UDP associations, and those that were dropped."""

    up: int = 0
    down: int = 0
    drops: Counter[Drop] = field(default_factory=Counter)

    def add(self, tally: Tally) -> None:
        """Add those of one association."""
        self.up += tally.up
        self.down += tally.down
        self.drops.update(tally.drops)


class Counters:
    """The counters of one worker: the fields are read where they are shown.

    Methods change them, and sessions and trips add to `dials` and `steps`.
    """

    __slots__ = (
        "_associations",
        "_ended_datagrams",
        "dials",
        "failures",
        "limited",
        "now",
        "recent_failures",
        "sessions",
        "steps",
        "troubles",
    )

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self.now = now
        """The clock of durations, in seconds. It is not trio's, which takes five times as long to read."""
        self.sessions: dict[SessionKey, SessionTotals] = {}
        """The sessions that have ended."""
        self.failures: Counter[Failure] = Counter()
        """Attempts of dials that have failed."""
        self.limited: Counter[Limit] = Counter()
        """What each limit has refused, ended or dropped."""
        self.dials: defaultdict[str, Histogram] = defaultdict(Histogram)
        """The dials that succeeded, by chain; a session adds to them."""
        self.steps: defaultdict[tuple[str, State | Step], Histogram] = defaultdict(Histogram)
        """The steps that succeeded, by hop and step; a trip adds to them."""
        self.troubles: dict[str, HopTrouble] = {}
        """By hop; ask `trouble` which of them last."""
        self.recent_failures: deque[Ended] = deque(maxlen=RECENT)
        """The last failed sessions, the earliest first."""
        self._associations: set[Tally] = set()
        self._ended_datagrams = Datagrams()

    def session_ended(self, record: Record) -> None:
        """Count a session that has ended, whose record is final."""
        request, chain = record.request, record.chain
        # A plain tuple is equal to a `SessionKey`, and made in a fraction of the time.
        key = (request.command if request else None, chain.name if chain else "", record.kind, record.reply)
        totals = self.sessions.get(key)  # type: ignore[call-overload]
        if totals is None:
            totals = self.sessions[SessionKey(*key)] = SessionTotals(record.kind.is_failure)
        totals.count += 1
        totals.up += record.up
        totals.down += record.down
        if totals.is_failure:
            self.recent_failures.append(Ended(trio.current_time(), record))
        if record.id % MANY == 0:
            for histogram in (*self.dials.values(), *self.steps.values()):
                histogram.gather()

    def limit_reached(self, limit: Limit) -> None:
        """Count what a limit is for, and has refused, ended or dropped."""
        self.limited[limit] += 1

    def dials_failed(self, errors: Iterable[DialError]) -> None:
        """Count attempts that have failed, without their `earlier`."""
        for error in errors:
            self.failures[Failure.of(error)] += 1
            if error.place.hop is not None and not isinstance(error, HopRefused):  # a hop that answers works
                self._note_trouble(error.place.hop, error)

    def trouble(self, hop: str) -> HopTrouble | None:
        """Return the failures of a hop since it has carried out a request; None if there are none."""
        trouble = self.troubles.get(hop)
        return trouble if trouble and trouble.requests == self.requests(hop) else None

    def requests(self, hop: str) -> int:
        """Return how many requests a hop has carried out."""
        histogram = self.steps.get((hop, State.REQUEST))
        return sum(histogram.counts) if histogram else 0

    def latencies(self) -> dict[str, float]:
        """Return how long the steps of a dial at each hop take on average, all together."""
        found: dict[str, float] = {}
        for (hop, _), histogram in self.steps.items():
            found[hop] = found.get(hop, 0) + histogram.sum / max(1, sum(histogram.counts))
        return found

    def _note_trouble(self, hop: str, error: DialError) -> None:
        trouble = self.trouble(hop)
        if trouble is None:
            trouble = self.troubles[hop] = HopTrouble(trio.current_time(), self.requests(hop))
        trouble.count += 1
        trouble.why = str(error)
        trouble.are_certain |= error.place.step != State.REQUEST

    @contextmanager
    def association(self, tally: Tally) -> Iterator[None]:
        """Count the datagrams of a UDP association, while it is open and afterwards."""
        self._associations.add(tally)
        try:
            yield
        finally:
            self._associations.remove(tally)
            self._ended_datagrams.add(tally)

    @property
    def datagrams(self) -> Datagrams:
        """The datagrams of all associations, those that are open too."""
        total = Datagrams()
        total.up, total.down = self._ended_datagrams.up, self._ended_datagrams.down
        total.drops.update(self._ended_datagrams.drops)
        for tally in self._associations:
            total.add(tally)
        return total
