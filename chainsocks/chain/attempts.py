"""The attempts of one request along the routes of a chain with a choice.

1. A hop that has failed is left out for the rest of the request, and the next member of its group takes its place.
2. All attempts together have the time of one dial. They end with the first success, or with an error that no other hop
   can mend.
3. With a hedge, a second attempt starts beside the first once that has taken too long. The first to succeed wins; the
   other is cancelled and its connections are closed. No data of the client was ever sent there.
4. What was learnt about hops goes to `chainsocks.chain.health`; a suspicion only once another route has confirmed it
   (`chainsocks.chain.blame`). A failure that the destination may have brought about counts for its host.
5. When the client leaves, no further attempt starts.
6. An attempt on a warm way (`chainsocks.chain.warm`) measures no dial time, and one that is to measure takes none.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from chainsocks.chain.blame import Confidence, FailedAt, Suspect, Verdict, judge
from chainsocks.chain.health import Health
from chainsocks.chain.legs import Leg
from chainsocks.chain.trip import Abandonment, RequestAbandoned, Trip
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Pick, Pipeline
from chainsocks.config.groups import Group, groups_of
from chainsocks.config.hops import Contact, Identity
from chainsocks.errors import DialError, RequestRefused
from chainsocks.network import Network
from chainsocks.observe.privacy import shown
from chainsocks.protocol.messages import ReplyCode
from chainsocks.routing.pick import Picks, choose, vary

__all__ = ["Attempts", "Choices", "Operation"]

ResultT = TypeVar("ResultT")

Operation = Callable[[Trip], Awaitable[ResultT]]
"""What a trip is made for."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What is remembered of hops and groups from one request to the next."""

    health: Health
    picks: Picks = field(default_factory=Picks)


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """A failed attempt of which one of several hops is guilty, or none, until another route works."""

    verdict: Verdict
    error: DialError

    def culprit(self, route: Route) -> Suspect | None:
        """Given that `route` succeeded, return the guilty hop: the last suspect that `route` does not use."""
        suspects = reversed(self.verdict.suspects)
        return next((suspect for suspect in suspects if not suspect.is_used_by(route.hops)), None)


class Attempts(Generic[ResultT]):
    """The attempts of one request, which `key` tells from others where members of groups are sticky.

    `host` is that of its destination, as `chainsocks.chain.health.host_key` has it. `begin` makes the trip along a
    route, and `operation` is what each trip is made for. `close` closes a result that came second; without it the
    attempts are not hedged. `abandoned` tells that the client has left.
    """

    def __init__(
        self,
        chain: Chain,
        key: bytes,
        host: str,
        choices: Choices,
        network: Network,
        begin: Callable[[Route], Trip],
        operation: Operation[ResultT],
        close: Callable[[ResultT], Awaitable[None]] | None = None,
        abandoned: Abandonment | None = None,
    ) -> None:
        self._chain = chain
        self._host = host
        self._health = choices.health
        self._known = choices.health.towards(host)
        # What one host has done changes the order for that host only, and not whose turn it is, or who is the fastest.
        orders = choices.picks.orders(chain, key, choices.health)
        self._orders = [sorted(order, key=self._known.in_backoff) for order in orders]
        self._network = network
        self._begin = begin
        self._operation = operation
        self._close = close
        self._abandoned = abandoned
        self._left_out: set[Identity | Contact] = set()
        self._suspicions: list[_Suspicion] = []
        self.overcome: list[DialError] = []
        """The failures of attempts that `run` does not raise, since another attempt succeeded or the client left."""
        self._over = False
        """Whether no further attempt can help."""
        self._succeeded: list[tuple[Trip, ResultT]] = []
        self._winner_started = -math.inf
        self._under_way: list[Route] = []

    async def run(self) -> tuple[Trip, ResultT]:
        """Attempt one route after the other until one succeeds; return its trip and the result.

        Raises:
            DialError: the last attempt's error; those before are its `earlier`.
            RequestRefused: the chain has more places than hops.
            RequestAbandoned: the client has left.
        """
        hedge = self._hedge
        if hedge < math.inf:
            await self._race(hedge)
        else:
            while not self._succeeded and (route := self._choose()):
                await self._attempt(route)
        if self._succeeded:
            return self._succeeded[0]
        failure = self._failure()
        if isinstance(failure, DialError):
            self.overcome.clear()  # they are its `earlier`
        raise failure

    @property
    def _hedge(self) -> float:
        """After how many seconds a second attempt starts beside the first."""
        if self._close is None:
            return math.inf
        groups = (member.hedge for member in self._chain.hops if isinstance(member, Group))
        return min(math.inf if hedge is None else hedge for hedge in (self._chain.hedge, *groups))

    async def _race(self, hedge: float) -> None:
        """Run at most two attempts at a time, until one succeeds or there is no other route."""
        try:
            async with anyio.create_task_group() as group:
                route = self._choose()
                while route or self._under_way:
                    self._ended = anyio.Event()
                    if route:
                        self._under_way.append(route)
                        group.start_soon(self._attempt, route)
                    alone = len(self._under_way) == 1
                    with anyio.move_on_after(hedge if alone else math.inf):
                        await self._ended.wait()
                    if self._succeeded or self._over:
                        break
                    route = self._choose_beside() if self._under_way else self._choose()
                group.cancel_scope.cancel()
        except BaseException:
            await self._close_all_but(0)
            raise
        await self._close_all_but(1)

    async def _attempt(self, route: Route) -> None:
        """Make one trip, and learn from what comes of it."""
        trip = self._begin(route)
        if trip.take_warm and self._measures and any(map(self._health.wants_measuring, route.hops)):
            trip.take_warm = None
        started = self._network.now()
        self._health.record_start(route.hops)
        try:
            self._succeeded.append((trip, await trip.run(self._operation)))
            self._winner_started = started
            if trip.completed:
                self._note_success(route, None if trip.is_warm else self._network.now() - started)
        except DialError as error:
            self._note_failure(trip, error)
        except RequestAbandoned:
            self._over = True
        except BaseException:
            if started < self._winner_started and trip.leg:
                self._note_hedge_loss(trip, trip.leg, self._succeeded[0][0].route)
            raise
        finally:
            self._health.release_trial(route.hops)
            if route in self._under_way:
                self._under_way.remove(route)
                self._ended.set()

    def _note_success(self, route: Route, seconds: float | None) -> None:
        """Record what the success of `route` says of its hops, and of those suspected before."""
        self._health.record_success(route.hops, seconds, self._host)
        if seconds is not None:
            pipeline = route.chain.pipeline
            self._health.record_pipelining(hop for hop in route.hops[:-1] if hop.pipelined(pipeline) is Pipeline.CHAIN)
        for suspicion in self._suspicions:
            if culprit := suspicion.culprit(route):
                self._confirm(culprit, suspicion)

    def _note_failure(self, trip: Trip, error: DialError) -> None:
        """Decide which hop to leave out from now on, or that no further attempt can help."""
        verdict = judge(error, self._as_known(trip.leg))
        suspects = verdict.suspects
        if verdict.may_be_destination and self._chain.can_replace(suspects[0].hop):
            self._health.record_miss(suspects[0].hop, self._host, error)
        if trip.is_over_time or (verdict.confidence is Confidence.DESTINATION_FAILED and not self._retries_refusals):
            suspects = ()
        if suspects and verdict.confidence is Confidence.CERTAIN:
            self._blame(suspects[0], error)
        elif suspects and verdict.confidence in (Confidence.IF_ANOTHER_ROUTE_WORKS, Confidence.IF_PIPELINING_WORKS):
            if again := self._suspected_before(verdict):
                if not verdict.may_be_destination:
                    self._blame(again, error)
                suspects = (again, *suspects)
            self._suspicions.append(_Suspicion(verdict, error))
        self.overcome.append(error)
        for suspect in suspects:
            if choose(self._chain, self._orders, self._left_out | {suspect.key}, self._known):
                self._left_out.add(suspect.key)
                return
        self._over = True

    def _as_known(self, leg: Leg | None) -> Leg | None:
        """Return a leg as if its previous hop were not pipelined, if that is known to support pipelining."""
        trusted = leg and leg.previous and self._health.supports_pipelining(leg.previous)
        return leg._replace(previous_pipeline=Pipeline.OFF) if leg and trusted else leg

    def _suspected_before(self, verdict: Verdict) -> Suspect | None:
        """Return the first suspect that was suspected of losing pipelined messages in an earlier attempt, too."""
        if verdict.confidence is not Confidence.IF_PIPELINING_WORKS:
            return None
        others = [one.verdict for one in self._suspicions if one.verdict.confidence is verdict.confidence]
        keys = {suspect.key for other in others for suspect in other.suspects}
        return next((suspect for suspect in verdict.suspects if suspect.key in keys), None)

    def _note_hedge_loss(self, trip: Trip, leg: Leg, winner: Route) -> None:
        """Record which hop was too slow, in an attempt that a hedge has overtaken at `leg`."""
        error = trip.overdue()
        suspicion = _Suspicion(judge(error, self._as_known(leg)), error)
        pipelined = suspicion.verdict.confidence is Confidence.IF_PIPELINING_WORKS
        slow = (suspicion.culprit(winner) if pipelined else None) or Suspect(leg.hop, FailedAt.REQUEST)
        if not suspicion.verdict.may_be_destination:
            self._health.record_hedge_loss(slow.hop)
        elif self._chain.can_replace(slow.hop):
            self._health.record_miss(slow.hop, self._host, "it was too slow for its hedge")
            self._health.confirm_miss(slow, self._host, "it was too slow for its hedge")

    def _confirm(self, culprit: Suspect, suspicion: _Suspicion) -> None:
        """Record that a suspected hop is guilty, because another route has succeeded."""
        if not suspicion.verdict.may_be_destination:
            self._blame(culprit, suspicion.error)
        elif self._chain.can_replace(culprit.hop):
            if culprit.key != suspicion.verdict.suspects[0].key:
                self._health.record_miss(culprit.hop, self._host, f"{culprit.note}{shown(suspicion.error)}")
            self._health.confirm_miss(culprit, self._host, suspicion.error)

    def _blame(self, suspect: Suspect, error: DialError) -> None:
        """Put a hop into backoff, if the chain can do without it."""
        if self._chain.can_replace(suspect.hop):
            self._health.record_failure(suspect, error)

    @property
    def _measures(self) -> bool:
        """Whether dial times decide which member of a group is tried first."""
        return any(group.pick is Pick.FASTEST for group in groups_of(self._chain.hops))

    @property
    def _retries_refusals(self) -> bool:
        last = self._chain.hops[-1]
        return isinstance(last, Group) and last.retry_refused

    @property
    def _stops(self) -> bool:
        """Whether no further attempt starts."""
        return self._over or (self._abandoned is not None and self._abandoned.declared)

    def _choose(self) -> Route | None:
        return None if self._stops else choose(self._chain, self._orders, self._left_out, self._known)

    def _choose_beside(self) -> Route | None:
        if self._stops:
            return None
        return vary(self._chain, self._orders, self._left_out, self._known, self._under_way)

    def _failure(self) -> DialError | RequestRefused | RequestAbandoned:
        if self._abandoned is not None and self._abandoned.declared:
            return RequestAbandoned()
        if not self.overcome:
            return RequestRefused(f"chain {self._chain.name} has more places than hops", ReplyCode.GENERAL_FAILURE)
        return self.overcome[-1].after(self.overcome[:-1])

    async def _close_all_but(self, winners: int) -> None:
        for _, result in self._succeeded[winners:]:
            if self._close:
                await self._close(result)
