"""All hops of a chain that has a choice: each one is walked to in its place, so that of each is known whether it works.

1. First a way through is looked for: by the first choice at each place, as declared, and past whoever fails.
2. Then each other member is put in its place, with hops that work at the other places, if there are any.
3. What a walk has shown is not walked again: whoever stands behind the same dead hop is not reached.
4. Each walk has the limits of a dial for itself.
5. Of two hops that may have failed, the one that works in another way is not held to be guilty.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from chainsocks.chain.blame import judge
from chainsocks.chain.trip import RESOLVE
from chainsocks.config.chains import Chain, Group, Route, hops_of
from chainsocks.config.hops import Hop, Identity
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.routing.pick import Orders, PassedOver, choose
from chainsocks.tools.probe.walk import Failure, Walked

__all__ = ["Explored", "Member", "Seat", "Standing", "explore", "has_a_way", "seats_of", "weigh"]


class Standing(StrEnum):
    """What is known of a member."""

    WORKS = "works"
    FAILED = "failed"
    STUCK = "stuck"
    """It answers, and has not reached the hop behind it, which no other one reaches either."""
    NOT_REACHED = "not reached"
    """Somebody before it has failed."""
    NOT_USED = "not used"
    """No way leads over it here: it is needed at another place of the chain."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A hop that may stand at a place of a chain, which counts from 1."""

    place: int
    hop: Hop
    group: str | None
    """Whose member it is there; None for a hop that the chain may leave out."""


@dataclass(frozen=True, slots=True)
class Member:
    """A hop at a place where it is one of several, or can be left out; and the walk that tells of it."""

    seat: Seat
    walked: Walked | None
    standing: Standing

    @property
    def position(self) -> int:
        """Where it stands in the route of its walk, from 1; 0 without a walk."""
        return _position(self.seat, self.walked.route) if self.walked else 0

    def stands_in(self, route: Route) -> bool:
        """Whether it is what stands at its place in a route."""
        return _stands_there(self.seat, route)


@dataclass(frozen=True, slots=True)
class Explored:
    """The first way through a chain, or the first walk of those that all failed; and what is known of its members."""

    walked: Walked
    members: tuple[Member, ...] = ()


Walker = Callable[[Route], Awaitable[Walked]]


async def explore(chain: Chain, walk: Walker) -> Explored:
    """Walk all ways that it takes to know each hop of `chain`; without a choice that is one.

    Raises:
        ValueError: there is no way, see `has_a_way`.
    """
    if chain.route:
        return Explored(await walk(chain.route))
    return await _Explorer(chain, walk).explore()


def has_a_way(chain: Chain) -> bool:
    """Whether there is a hop for each place, if all of them live."""
    return chain.route is not None or choose(chain, _orders(chain), (), _NobodyRests()) is not None


def seats_of(chain: Chain) -> Iterator[Seat]:
    """Go through the hops of all groups of a chain, and through the others as well where those may be left out."""
    for place, member in enumerate(chain.hops, 1):
        if isinstance(member, Group):
            yield from (Seat(place, hop, member.name) for hop in dict.fromkeys(hops_of(member.hops)))
        elif chain.skip_dead:
            yield Seat(place, member, None)


def weigh(found: Mapping[Seat, Walked | None]) -> tuple[Member, ...]:
    """Say what is known of each, now that all have been walked to."""
    walks = [walked for walked in found.values() if walked]
    living = {hop.identity for walked in walks if walked.failure is None for hop in walked.route.hops}
    return tuple(Member(seat, walked, _standing(seat, walked, living)) for seat, walked in found.items())


class _Explorer:
    """The walks through a chain, as they are made."""

    def __init__(self, chain: Chain, walk: Walker) -> None:
        self._chain = chain
        self._walk_one = walk
        self._orders = _orders(chain)
        self._walks: list[Walked] = []
        self._failed: set[Identity | Address] = set()
        """Who was passed over to find a way through."""

    async def explore(self) -> Explored:
        await self._find_way()
        found = {seat: await self._walk_to(seat) for seat in seats_of(self._chain)}
        shown = next((walked for walked in self._walks if walked.failure is None), self._walks[0])
        return Explored(shown, weigh(found))

    async def _find_way(self) -> None:
        route = self._choose(self._chain, self._orders, ())
        if route is None:
            raise ValueError(f"chain {self._chain.name} has more places than hops")
        while route:
            failure = (await self._walk(route)).failure
            route = self._choose_after(failure) if failure else None

    def _choose_after(self, failure: Failure) -> Route | None:
        """Pass over the likeliest culprit that somebody can stand in for."""
        for suspect in judge(failure.error, failure.leg).suspects:
            failed = self._failed | {suspect.key}
            if route := self._choose(self._chain, self._orders, failed):
                self._failed = failed
                return route
        return None

    async def _walk_to(self, seat: Seat) -> Walked | None:
        through = (walked for walked in self._walks if walked.failure is None)
        known = next((walked for walked in through if _stands_there(seat, walked.route)), None)
        if known:
            return known
        route = self._route_over(seat)
        return (self._shown(route) or await self._walk(route)) if route else None

    def _route_over(self, seat: Seat) -> Route | None:
        """Put a hop in its place, and whoever works at the others; those that do not, where nobody else is left."""
        members = list(self._chain.hops)
        if seat.group and seat.hop in members:
            return None  # a group has no hop stand beside itself, see `chainsocks.routing.pick`
        members[seat.place - 1] = seat.hop
        chain = Chain(*members, name=self._chain.name, skip_dead=self._chain.skip_dead, length=self._chain.length)
        working = {hop for walked in self._walks if walked.failure is None for hop in walked.route.hops}
        living = {hop.identity for hop in working}
        orders = [
            (member,) if isinstance(member, Hop) else sorted(order, key=lambda hop: hop.identity not in living)
            for member, order in zip(members, self._orders, strict=True)
        ]
        failed = self._failed - living - {hop.address for hop in working} - {seat.hop.identity, seat.hop.address}
        return self._choose_with(seat.hop, chain, orders, failed) or self._choose_with(seat.hop, chain, orders, ())

    def _choose_with(self, hop: Hop, chain: Chain, orders: Orders, passed_over: PassedOver) -> Route | None:
        """Choose a route that has `hop` in it: where others fill the length of a chain, the last of them has to go."""
        gone = set(passed_over)
        while (route := self._choose(chain, orders, gone)) and hop not in route.hops:
            gone.add(route.hops[-1].identity)
        return route

    def _choose(self, chain: Chain, orders: Orders, passed_over: PassedOver) -> Route | None:
        route = choose(chain, orders, passed_over, _NobodyRests())
        return Route(self._chain, route.hops) if route else None

    def _shown(self, route: Route) -> Walked | None:
        """Return what an earlier walk tells of this one: its own result, or that of the same hops at its beginning."""
        for walked in self._walks:
            length = _decided_by(walked)
            alike = walked.route.hops[:length] == route.hops[:length] and len(walked.route.hops) == len(route.hops)
            if alike:
                return replace(walked, route=route)
        return None

    async def _walk(self, route: Route) -> Walked:
        self._walks.append(await self._walk_one(route))
        return self._walks[-1]


class _NobodyRests:
    """What is known of hops before the first one has been walked to, see `chainsocks.routing.pick.Known`."""

    def in_backoff(self, hop: Hop) -> bool:
        return False

    def dial_time(self, hop: Hop) -> float | None:
        return None

    def wants_measuring(self, hop: Hop) -> bool:
        return False


def _orders(chain: Chain) -> Orders:
    """Return the hops for each place as they are declared, whatever the pick of its group is."""
    return [list({hop.identity: hop for hop in hops_of((member,))}.values()) for member in chain.hops]


def _decided_by(walked: Walked) -> int:
    """Return how many hops, from the first one on, made a walk end as it did."""
    failure = walked.failure
    if failure is None or failure.leg is None:
        return len(walked.route.hops)
    was_about_the_next = failure.leg.next is not None and failure.error.place.step in (State.REQUEST, RESOLVE)
    return failure.leg.position + was_about_the_next


def _stands_there(seat: Seat, route: Route) -> bool:
    position = _position(seat, route)
    return position > 0 and (route.chain.skip_dead or position == seat.place)


def _position(seat: Seat, route: Route) -> int:
    """Return where a member stands in a route, from 1; 0 if it does not."""
    if not route.chain.skip_dead:
        return seat.place if route.hops[seat.place - 1] == seat.hop else 0
    return route.hops.index(seat.hop) + 1 if seat.hop in route.hops else 0


def _standing(seat: Seat, walked: Walked | None, living: Collection[Identity]) -> Standing:
    if walked is None:
        return Standing.NOT_USED
    failure = walked.failure
    position, reached = _position(seat, walked.route), failure.position if failure else None
    if failure is None or reached is None:
        return Standing.WORKS
    suspects = judge(failure.error, failure.leg).suspects
    guilty = next((suspect.hop for suspect in suspects if suspect.hop.identity not in living), seat.hop)
    if guilty == seat.hop and any(suspect.hop == seat.hop for suspect in suspects):
        return Standing.FAILED
    if position < reached:
        return Standing.WORKS
    asked = failure.error.place.step == State.REQUEST
    return Standing.STUCK if position == reached and asked else Standing.NOT_REACHED
