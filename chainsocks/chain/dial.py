"""Dial: walk a route through a chain; where that fails and there is another one, walk that.

1. A hop that has failed is passed over for the rest of the request, and the next member of its group stands in for it.
2. All tries together have the time of one dial. They end with the first success, or with what no other hop can mend.
3. With a hedge, another route is walked beside the first once that has taken too long. The first that comes through
   wins; the other is cancelled, its connections are closed, and nothing of the client's was ever sent there.
4. A hop that does not answer what was sent behind its carrier's request has failed, or the carrier has lost it. That is
   a doubt until the carrier has been seen to keep such things; whoever is doubted twice, with others, has failed.
5. What was learnt about hops goes to `chainsocks.chain.health`, doubts only once another way has confirmed them.

Where there is one route only, it is walked as it is, at no cost.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import anyio

from chainsocks.chain.associate import Association, AssociationWalk
from chainsocks.chain.blame import Confidence, Suspect, Verdict, judge
from chainsocks.chain.health import Health
from chainsocks.chain.legs import Leg
from chainsocks.chain.network import CancelScope, Network
from chainsocks.chain.walk import OnStep, Upstream, Walk
from chainsocks.config.chains import Chain, Group, Route
from chainsocks.config.hops import Hop, Identity, Pipeline
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, RequestRefused
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.messages import ReplyCode
from chainsocks.routing.pick import Picks, choose, vary

__all__ = ["Choices", "Tries", "associate", "close_upstream", "dial", "walk_through"]

WalkT = TypeVar("WalkT", bound=Walk)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Choices:
    """What is remembered of hops and groups from one request to the next."""

    health: Health
    picks: Picks = field(default_factory=Picks)


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """Hops of which one has failed. A single one may have been right about the destination, until another way opens."""

    verdict: Verdict
    error: DialError

    def culprit(self, route: Route) -> Suspect | None:
        """Given that `route` succeeded, return the guilty hop: the last suspect that `route` does not use."""
        suspects = reversed(self.verdict.suspects)
        return next((suspect for suspect in suspects if not suspect.is_used_by(route.hops)), None)


class Tries(Generic[WalkT, ResultT]):
    """The tries of one request, which `key` tells from others where members are to be sticky.

    `begin` makes the walk of a route, whose time runs from a moment it is told; `go` has it do what is wanted, inside a
    scope. `discard` closes a result that came second: without it there are no hedges.
    """

    def __init__(
        self,
        chain: Chain,
        key: bytes,
        choices: Choices,
        network: Network,
        begin: Callable[[Route, float], WalkT],
        go: Callable[[WalkT, CancelScope], Awaitable[ResultT]],
        discard: Callable[[ResultT], Awaitable[None]] | None = None,
    ) -> None:
        self._chain = chain
        self._health = choices.health
        self._orders = choices.picks.orders(chain, key, choices.health)
        self._network = network
        self._begin = begin
        self._go = go
        self._discard = discard
        self._began = network.now()
        self._passed_over: set[Identity | Address] = set()
        self._doubts: list[_Doubtful] = []
        self._errors: list[DialError] = []
        self._over = False
        """Whether no further try is of any use."""
        self._won: list[tuple[WalkT, ResultT]] = []
        self._winner_started = -math.inf
        self._walking: list[Route] = []

    async def run(self) -> tuple[WalkT, ResultT]:
        """Try until one comes through; return its walk, and what came of it.

        Raises:
            DialError: the last try's; those before it are its `earlier`.
        """
        hedge = self._hedge
        if hedge < math.inf:
            await self._race(hedge)
        else:
            while not self._won and (route := self._choose()):
                await self._try(route)
        if self._won:
            return self._won[0]
        raise self._failure()

    @property
    def _hedge(self) -> float:
        """After how many seconds another route is walked as well."""
        if self._discard is None:
            return math.inf
        groups = (member.hedge for member in self._chain.hops if isinstance(member, Group))
        return min(math.inf if hedge is None else hedge for hedge in (self._chain.hedge, *groups))

    async def _race(self, hedge: float) -> None:
        """Walk at most two routes at a time, until one comes through or there is no other."""
        try:
            async with anyio.create_task_group() as group:
                route = self._choose()
                while route or self._walking:
                    self._ended = anyio.Event()
                    if route:
                        self._walking.append(route)
                        group.start_soon(self._try, route)
                    alone = len(self._walking) == 1
                    with anyio.move_on_after(hedge if alone else math.inf):
                        await self._ended.wait()
                    if self._won or self._over:
                        break
                    route = self._choose_beside() if self._walking else self._choose()
                group.cancel_scope.cancel()
        except BaseException:
            await self._close_all_but(0)
            raise
        await self._close_all_but(1)

    async def _try(self, route: Route) -> None:
        """Walk one route, and learn from what comes of it."""
        walk = self._begin(route, self._began)
        started = self._network.now()
        self._health.record_start(route.hops)
        try:
            with self._network.open_scope(math.inf) as scope:
                self._won.append((walk, await self._go(walk, scope)))
                self._winner_started = started
                if walk.came_through:
                    self._note_success(route, self._network.now() - started)
            if scope.cancelled_caught:
                self._note_failure(walk, walk.timeout())
        except DialError as error:
            self._note_failure(walk, error)
        except BaseException:
            if started < self._winner_started and walk.leg:
                self._health.record_hedge_loss(self._awaited(walk, walk.leg, self._won[0][0].route))
            raise
        finally:
            self._health.release_trial(route.hops)
            if route in self._walking:
                self._walking.remove(route)
                self._ended.set()

    def _note_success(self, route: Route, seconds: float) -> None:
        """Tell what came through, and what that says of those who had not."""
        self._health.record_success(route.hops, seconds)
        pipeline = route.chain.pipeline
        self._health.record_pipelining(hop for hop in route.hops[:-1] if hop.pipelined(pipeline) is Pipeline.CHAIN)
        for doubt in self._doubts:
            if culprit := doubt.culprit(route):
                self._blame(culprit, doubt.error)

    def _note_failure(self, walk: WalkT, error: DialError) -> None:
        """Decide whom to pass over from now on, or that there is nothing left to try."""
        verdict = judge(error, self._as_known(walk.leg))
        suspects = verdict.suspects
        if walk.is_over_time or (verdict.confidence is Confidence.DESTINATION_FAILED and not self._retries_refusals):
            suspects = ()
        if suspects and verdict.confidence is Confidence.CERTAIN:
            self._blame(suspects[0], error)
        elif suspects and verdict.confidence in (Confidence.IF_ANOTHER_ROUTE_WORKS, Confidence.IF_PIPELINING_WORKS):
            if again := self._doubted_before(verdict):
                self._blame(again, error)
                suspects = (again, *suspects)
            self._doubts.append(_Doubtful(verdict, error))
        self._errors.append(error)
        for suspect in suspects:
            if choose(self._chain, self._orders, self._passed_over | {suspect.key}, self._health):
                self._passed_over.add(suspect.key)
                return
        self._over = True

    def _as_known(self, leg: Leg | None) -> Leg | None:
        """Return a leg as if its carrier had been waited for, if that is known to keep what it is sent ahead."""
        trusted = leg and leg.previous and self._health.supports_pipelining(leg.previous)
        return replace(leg, previous_pipeline=Pipeline.OFF) if leg and trusted else leg

    def _doubted_before(self, verdict: Verdict) -> Suspect | None:
        """Return the first suspect that another hop's silence could have been due to as well."""
        if verdict.confidence is not Confidence.IF_PIPELINING_WORKS:
            return None
        others = [doubt.verdict for doubt in self._doubts if doubt.verdict.confidence is verdict.confidence]
        keys = {suspect.key for other in others for suspect in other.suspects}
        return next((suspect for suspect in verdict.suspects if suspect.key in keys), None)

    def _awaited(self, walk: WalkT, leg: Leg, winner: Route) -> Hop:
        """Return the hop that was too slow, in a walk that has been overtaken at `leg`."""
        error = walk.timeout()
        doubt = _Doubtful(judge(error, self._as_known(leg)), error)
        unasked = doubt.verdict.confidence is Confidence.IF_PIPELINING_WORKS
        culprit = doubt.culprit(winner) if unasked else None
        return culprit.hop if culprit else leg.hop

    def _blame(self, suspect: Suspect, error: DialError) -> None:
        """Put a hop into backoff, if the chain can do without it."""
        if self._chain.can_replace(suspect.hop):
            self._health.record_failure(suspect, error)

    @property
    def _retries_refusals(self) -> bool:
        last = self._chain.hops[-1]
        return isinstance(last, Group) and last.retry_refused

    def _choose(self) -> Route | None:
        return None if self._over else choose(self._chain, self._orders, self._passed_over, self._health)

    def _choose_beside(self) -> Route | None:
        return vary(self._chain, self._orders, self._passed_over, self._health, self._walking)

    def _failure(self) -> DialError | RequestRefused:
        if not self._errors:
            return RequestRefused(f"chain {self._chain.name} has more places than hops", ReplyCode.GENERAL_FAILURE)
        return self._errors[-1].after(self._errors[:-1])

    async def _close_all_but(self, winners: int) -> None:
        for _, result in self._won[winners:]:
            if self._discard:
                await self._discard(result)


async def dial(
    chain: Chain,
    destination: Address,
    timeouts: Timeouts,
    network: Network,
    on_step: OnStep | None = None,
    choices: Choices | None = None,
) -> Upstream:
    """Open the way to `destination` through all places of `chain`, or directly if it has none.

    Raises:
        DialError: one of its subclasses, by cause.
    """

    def begin(route: Route, began: float | None) -> Walk:
        return Walk(route, destination, timeouts, network, on_step, began)

    _, upstream = await walk_through(chain, destination.packed, choices, network, begin, Walk.go, close_upstream)
    return upstream


async def associate(chain: Chain, timeouts: Timeouts, network: Network, choices: Choices | None = None) -> Association:
    """Open an association at every hop of a route through `chain`.

    Raises:
        DialError: one of its subclasses, by cause.
    """

    def begin(route: Route, began: float | None) -> AssociationWalk:
        return AssociationWalk(route, UNSPECIFIED, timeouts, network, began=began)

    _, association = await walk_through(chain, b"", choices, network, begin, AssociationWalk.associate)
    return association


async def walk_through(
    chain: Chain,
    key: bytes,
    choices: Choices | None,
    network: Network,
    begin: Callable[[Route, float | None], WalkT],
    go: Callable[[WalkT, CancelScope], Awaitable[ResultT]],
    discard: Callable[[ResultT], Awaitable[None]] | None = None,
) -> tuple[WalkT, ResultT]:
    """Walk the only route through `chain`, or try what there is; see `Tries`.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    if chain.route is None:
        choices = choices or Choices(Health(network.now))
        return await Tries(chain, key, choices, network, begin, go, discard).run()
    walk = begin(chain.route, None)
    with network.open_scope(math.inf) as scope:
        return walk, await go(walk, scope)
    raise walk.timeout()


async def close_upstream(upstream: Upstream) -> None:
    """Close a connection that nobody wants."""
    await anyio.aclose_forcefully(upstream.stream)
