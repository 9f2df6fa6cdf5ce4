"""A trip: one attempt to go along a route. It knows where the attempt is, since when, and until when.

What a trip is made for is an operation: a plain coroutine of the `Trip` (`chainsocks.chain.operations` and its
neighbours). The steps that operations share are in `chainsocks.chain.steps`.

1. Every step is bounded by a total, and the whole chain by another; whichever ends first is the limit in the error.
2. Every failure names the hop, its address, the step, the seconds spent and the limit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from anyio.abc import ByteStream

from chainsocks.chain.legs import Leg
from chainsocks.chain.limit import Limit
from chainsocks.config.chains import Route
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, DialError, DialTimeout, End, HopRefused, Place, Step
from chainsocks.net.tls import TlsStream
from chainsocks.network import Network
from chainsocks.observe.privacy import private, shown
from chainsocks.protocol.address import Address, printable
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command
from chainsocks.protocol.proxy_protocol import LOCAL

__all__ = [
    "CONNECT",
    "OPEN",
    "RESOLVE",
    "Abandonment",
    "DialCounters",
    "Guard",
    "Known",
    "OnStep",
    "OnTls",
    "RequestAbandoned",
    "TakeWarm",
    "Trip",
]

OnStep = Callable[[Place, float], None]
"""Callback, called when a step starts, with its place and its deadline on the network's clock."""

OnTls = Callable[[Leg, TlsStream], None]
"""Callback, called with the stream when the TLS handshake with a hop is done, before its pin is compared."""

Guard = Callable[[Address, Address, bool], str | None]
"""Says why there is no connection to an IP address of a destination or (True) a hop; None when there may be one."""

Known = Mapping[str, Sequence[Address]]
"""Addresses of names that the rules have resolved already, by host. They are not resolved a second time."""

TakeWarm = Callable[[Route], Awaitable[ByteStream | None]]
"""Hands over a way along a route that is ready for a request (`chainsocks.chain.readiness`), if there is one."""

DEBUG = logging.DEBUG

RESOLVE, CONNECT, OPEN = Step.RESOLVE, Step.CONNECT, Step.OPEN
DESTINATION = End.DESTINATION

DialErrorT = TypeVar("DialErrorT", bound=DialError)
ResultT = TypeVar("ResultT")

log = logging.getLogger("chainsocks.dial")


class Durations(Protocol):
    """How long something took each time, as in `chainsocks.observe.counters.Histogram`."""

    @property
    def add(self) -> Callable[[float], None]:
        """Add a duration, in seconds."""


class DialCounters(Protocol):
    """What is counted of dials, as by `chainsocks.observe.counters.Counters`."""

    @property
    def now(self) -> Callable[[], float]:
        """The clock of durations, in seconds."""

    @property
    def steps(self) -> Mapping[tuple[str, State | Step], Durations]:
        """The steps that succeeded, by hop and step; a key that is new is added when it is asked for."""

    def dials_failed(self, errors: Iterable[DialError], /) -> None:
        """Count attempts that have failed, without their `earlier`."""


class RequestAbandoned(Exception):
    """The client left, and the time that the trip had after that is over."""


class Abandonment:
    """Tells the trips of one request that its client has left."""

    __slots__ = ("_trips", "until")

    def __init__(self) -> None:
        self.until = math.inf
        """The time at which trips under way end; ``inf`` while the client is there."""
        self._trips: list[Trip] = []

    @property
    def declared(self) -> bool:
        """Whether the client has left: no further attempt begins."""
        return self.until < math.inf

    def declare(self, until: float) -> None:
        """End all trips of the request at `until`, on the network's clock, unless they end earlier."""
        self.until = until
        for trip in self._trips:
            trip.hurry()

    @property
    def latest(self) -> Trip | None:
        """The trip that began last; None before the first one, and after `let_go`."""
        return self._trips[-1] if self._trips else None

    def watch(self, trip: Trip) -> None:
        """Have `trip` end when the client has left."""
        self._trips.append(trip)

    def let_go(self) -> None:
        """Forget the trips, which are over: they and this object refer to each other."""
        self._trips.clear()


class Trip:
    """One attempt along `route` to `destination`; `run` it once.

    `limit` is the block that the caller has entered already; without it, `run` has a limit of its own. The time for the
    whole chain runs from `began`, which is now unless other attempts for the same request came before. `known` holds
    addresses of names that are not to be resolved again; `guard` judges each address before it is connected to.
    `warm` hands over a way that is ready, if there is one.
    """

    __slots__ = (
        "_abandoned",
        "_began",
        "_counters",
        "_elapsed_from",
        "_end",
        "_entered",
        "_has_own_limit",
        "_limit",
        "_limit_seconds",
        "_on_step",
        "_target",
        "_total",
        "client",
        "completed",
        "destination",
        "guard",
        "is_warm",
        "known",
        "leg",
        "network",
        "on_tls",
        "proxy_header",
        "receives_exactly",
        "remark",
        "route",
        "step",
        "take_warm",
        "timeouts",
        "traced",
    )

    def __init__(
        self,
        route: Route,
        destination: Address,
        timeouts: Timeouts,
        network: Network,
        on_step: OnStep | None = None,
        *,
        limit: Limit | None = None,
        began: float | None = None,
        known: Known | None = None,
        guard: Guard | None = None,
        abandoned: Abandonment | None = None,
        client: str = "",
        receives_exactly: bool = False,
        warm: TakeWarm | None = None,
        proxy_header: bytes = LOCAL,
        counters: DialCounters | None = None,
    ) -> None:
        self.route = route
        self.destination = destination
        self.timeouts = timeouts
        self.network = network
        self.client = client
        """On whose account names are looked up, see `Network.resolve`."""
        self.receives_exactly = receives_exactly
        """Whether no byte behind the last hop's reply is received, since a user gets the stream as it is.

        Otherwise a message takes one call, and what came behind the last reply is handed over beside the stream.
        """
        self.take_warm = warm
        self.on_tls: OnTls | None = None
        self.proxy_header = proxy_header
        """What each connection begins with where the chain has `send_proxy`; by default it tells of no client."""
        self.is_warm = False
        """Whether its request went along a way that was ready before."""
        self.known = known
        self.guard = guard
        self._elapsed_from = network.now()
        self._began = self._elapsed_from if began is None else began
        dial = route.chain.dial
        self._total = self._limit_seconds = timeouts.dial if dial is None else dial
        self._on_step = on_step
        self._counters = counters
        self._entered = 0.0
        """When the step began; only kept for the counters."""
        self._abandoned = abandoned
        if abandoned:
            abandoned.watch(self)
        self.traced = log.isEnabledFor(DEBUG)
        self.remark = ""
        """What a time-out adds about the step."""
        self.completed = False
        """Whether all hops of the route have done their part. An operation that needed no hop leaves it False."""
        self.leg: Leg | None = None
        """Where the trip is, or has ended; None at the destination."""
        self.step: State | Step = CONNECT
        self._end = DESTINATION
        self._target: Address | None = destination
        self._has_own_limit = limit is None
        self._limit = limit or Limit(network)
        self._limit.expired = self.timeout

    def run(self, operation: Callable[[Trip], Awaitable[ResultT]]) -> Awaitable[ResultT]:
        """Run `operation`, and raise the error of the step whose limit expires.

        Raises:
            DialError: one of its subclasses, by cause. `leg` is then where the trip has ended.
            RequestAbandoned: the client has left.
        """
        # In the caller's block, which raises the error, it runs without a frame of this class around each wait.
        return self._run_within_limit(operation) if self._has_own_limit else operation(self)

    async def _run_within_limit(self, operation: Callable[[Trip], Awaitable[ResultT]]) -> ResultT:
        with self._limit:
            return await operation(self)

    def head_for(self, destination: Address, end: End = End.DESTINATION) -> None:
        """Go to another far end than the client's destination; errors call it `end`."""
        self.destination, self._end = destination, end

    def go_on(self, limit: Limit) -> None:
        """Run in another block from now on. The dial is over, so its total no longer counts."""
        self._limit = limit
        limit.expired = self.timeout
        self._total = math.inf

    def end_dial(self) -> None:
        """Stop counting the time for the whole chain: what follows has limits of its own."""
        self._total = math.inf

    def enter(self, leg: Leg | None, step: State | Step) -> None:
        """Start a step, at a hop or (None) at the destination; count the one that ends with that, if it was a hop's."""
        former, counters = self.leg, self._counters
        # An answer may come in pieces, and the way without hops is not counted.
        if counters and (leg or former) and not (step is self.step and leg is former):
            now = counters.now()
            if former:
                counters.steps[former.hop.name, self.step].add(now - self._entered)
            self._entered = now
        self.leg = leg
        self.step = step
        if self._on_step:
            self._on_step(self.place, self._limit.scope.deadline)
        if self.traced:
            log.debug("= %s", shown(self.place))

    def allow(self, seconds: float, target: Address | None, since: float | None = None) -> None:
        """Bound what begins now, on the way to `target`, by `seconds` or by what is left for the whole chain.

        With `since`, it began then, in seconds on the network's clock.
        """
        now = self._elapsed_from = self.network.now() if since is None else since
        self._limit_seconds, self._target = seconds, target
        deadline, end = now + seconds, self._began + self._total
        if end < deadline:
            deadline = end
        if self._abandoned and self._abandoned.until < deadline:
            deadline = self._abandoned.until
        self._limit.scope.deadline = deadline

    def hurry(self) -> None:
        """End when the abandonment says so, if that is earlier than the step's own deadline."""
        if self._abandoned:
            self._limit.scope.deadline = min(self._limit.scope.deadline, self._abandoned.until)

    @property
    def is_abandoned(self) -> bool:
        """Whether the client has left."""
        return self._abandoned is not None and self._abandoned.declared

    @property
    def place(self) -> Place:
        """The hop and the step that the trip is at."""
        leg = self.leg
        if leg is None:
            return Place(None, self.destination, self.step, end=self._end)
        hop = leg.hop
        return Place(hop.name, hop.address, self.step, leg.position, len(self.route.hops), end=self._end)

    @property
    def deadline(self) -> float:
        """When the step that it is at has to end, on the network's clock."""
        return self._limit.scope.deadline

    @property
    def is_over_time(self) -> bool:
        """Whether the time for the whole chain is over."""
        return self.network.now() >= self._began + self._total

    def timeout(self) -> DialTimeout | RequestAbandoned:
        """Return the error for the limit that has expired."""
        if self._abandoned and self.network.now() >= self._abandoned.until:
            return RequestAbandoned()
        return self.overdue()

    def overdue(self) -> DialTimeout:
        """Return the error of a trip that has waited too long where it is."""
        problem = self._complaint
        if self._began + self._total < self._elapsed_from + self._limit_seconds:
            self._elapsed_from, self._limit_seconds = self._began, self._total
            problem += ", and the time for the whole chain is over"
        own = self.leg is None and self.is_for_client
        return self.error(DialTimeout, problem, Cause.TIMED_OUT, at_destination=own)

    @property
    def _complaint(self) -> str:
        """What a time-out says of the step."""
        target = self._target
        if self.step == RESOLVE and target:
            return f"the lookup of {printable(target.host)} got no answer"
        if self.step == CONNECT:
            return "no answer"
        if self.step == State.SECOND_REPLY:
            return f"no peer connected{self.remark}"
        if target is None:
            return "no complete answer"
        if self.leg and self.leg.command is Command.UDP_ASSOCIATE:
            return f"no complete answer to {Command.UDP_ASSOCIATE.name}"
        return f"no complete answer on the way to {target}"

    @property
    def is_for_client(self) -> bool:
        """Whether the trip's end is the destination that the client asked for."""
        return self._end is End.DESTINATION

    def error(
        self,
        kind: type[DialErrorT],
        problem: str,
        cause: Cause,
        *,
        at_destination: bool = False,
        errno: int | None = None,
    ) -> DialErrorT:
        """Make an error of this place and time."""
        elapsed, limit = self.network.now() - self._elapsed_from, self._limit_seconds
        return kind(
            self.place, problem, cause, elapsed=elapsed, limit=limit, at_destination=at_destination, errno=errno
        )

    def refused(self, problem: str, cause: Cause, code: int) -> HopRefused:
        """Make the error of a hop's refusal, of this place and time."""
        elapsed = self.network.now() - self._elapsed_from
        return HopRefused(self.place, problem, cause, code=code, elapsed=elapsed, limit=self._limit_seconds)

    def note(self, what: str) -> None:
        """Log what has happened at this place."""
        if self.traced:
            log.debug("= %s: %s", shown(self.place), what)

    def trace(self, direction: str, data: bytes) -> None:
        """Log how many bytes went over the wire; never which, since they hold passwords."""
        peer = self.leg.hop.name if self.leg else private(str(self.destination), str(self._end))
        log.debug("%s %s %d bytes", direction, peer, len(data))
