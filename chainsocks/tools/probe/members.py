"""The members of a chain that has a choice: which walks it takes to know the state of each.

1. First a way through the chain is searched: the first member of each group, as declared, and the next one for each
   that fails.
2. Then each other member is put in its place, with working hops at the other places where there are any.
3. What a walk has shown is not walked again: behind one dead hop no member is reached.
4. Each walk has the limits of a whole dial.
5. Of two hops that may have failed, the one that works in another walk is not blamed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import replace

from chainsocks.chain.blame import judge
from chainsocks.chain.health import Health
from chainsocks.chain.trip import RESOLVE
from chainsocks.config.chains import Chain, Route
from chainsocks.config.groups import Group, hops_of
from chainsocks.config.hops import Contact, Hop, Identity
from chainsocks.protocol.handshake import State
from chainsocks.routing.pick import Orders, PassedOver, choose
from chainsocks.tools.probe.findings import HopReport, Member, Standing
from chainsocks.tools.probe.walk import Walk

__all__ = ["explore", "has_a_way", "members_of", "weigh"]


Walker = Callable[[Route], Awaitable[Walk]]

_NO_BACKOFF = Health(lambda: 0)
"""What is known of hops before the first walk."""


async def explore(chain: Chain, walk: Walker) -> tuple[Walk, tuple[Member, ...]]:
    """Walk along as many routes as it takes to know each member of `chain`; without a choice that is one.

    Return the first walk that succeeded, or the first of all if none did; and all members.

    Raises:
        ValueError: there is no route, see `has_a_way`.
    """
    if chain.route:
        return await walk(chain.route), ()
    return await _Explorer(chain, walk).explore()


def has_a_way(chain: Chain) -> bool:
    """Tell whether there is a hop for each place, if all of them work."""
    return chain.route is not None or choose(chain, _orders(chain), (), _NO_BACKOFF) is not None


def members_of(chain: Chain) -> Iterator[Member]:
    """Go through the members of all groups of a chain, and through its other hops where those may be left out."""
    for place, one in enumerate(chain.hops, 1):
        if isinstance(one, Group):
            yield from (Member(place, hop, one.name) for hop in dict.fromkeys(hops_of(one.hops)))
        elif chain.skip_dead:
            yield Member(place, one, None)


def weigh(members: Sequence[Member]) -> tuple[Member, ...]:
    """Decide the state of each member, when all of them have been walked to."""
    walks = [member.report.walk for member in members if member.report]
    working = {hop.identity for walk in walks if walk.error is None for hop in walk.route.hops}
    return tuple(
        replace(member, standing=_standing(member.report, working)) if member.report else member for member in members
    )


class _Explorer:
    """The walks through a chain, as they are made."""

    def __init__(self, chain: Chain, walk: Walker) -> None:
        self._chain = chain
        self._walk_one = walk
        self._orders = _orders(chain)
        self._walks: list[Walk] = []
        self._failed: set[Identity | Contact] = set()
        """What was passed over to find a way through."""

    async def explore(self) -> tuple[Walk, tuple[Member, ...]]:
        await self._find_way()
        members = [await self._walk_to(member) for member in members_of(self._chain)]
        return next(self._successes, self._walks[0]), weigh(members)

    @property
    def _successes(self) -> Iterator[Walk]:
        return (walk for walk in self._walks if walk.error is None)

    async def _find_way(self) -> None:
        route = self._choose(self._chain, self._orders, ())
        if route is None:
            raise ValueError(f"chain {self._chain.name} has more places than hops")
        while route:
            route = self._choose_after(await self._walk(route))

    def _choose_after(self, walk: Walk) -> Route | None:
        """Pass over the likeliest culprit of a failure that another hop can replace."""
        for suspect in judge(walk.error, walk.leg).suspects if walk.error else ():
            failed = self._failed | {suspect.key}
            if route := self._choose(self._chain, self._orders, failed):
                self._failed = failed
                return route
        return None

    async def _walk_to(self, member: Member) -> Member:
        if known := next((walk for walk in self._successes if member.position_in(walk.route)), None):
            return member.seen_in(known)
        route = self._route_over(member)
        return member.seen_in(self._shown(route) or await self._walk(route)) if route else member

    def _route_over(self, member: Member) -> Route | None:
        """Put a member in its place, and hops that work at the others; those that do not, where no others are left."""
        places = list(self._chain.hops)
        if member.group and member.hop in places:
            return None  # a member of a group is not used beside itself, see `chainsocks.routing.pick`
        places[member.place - 1] = member.hop
        chain = Chain(*places, name=self._chain.name, skip_dead=self._chain.skip_dead, length=self._chain.length)
        working = {hop for walk in self._successes for hop in walk.route.hops}
        identities = {hop.identity for hop in working}
        orders = [
            (place,) if isinstance(place, Hop) else sorted(order, key=lambda hop: hop.identity not in identities)
            for place, order in zip(places, self._orders, strict=True)
        ]
        spared = identities | {hop.contact for hop in working} | {member.hop.identity, member.hop.contact}
        passed_over = self._failed - spared
        return self._choose_with(member.hop, chain, orders, passed_over) or self._choose_with(
            member.hop, chain, orders, set()
        )

    def _choose_with(
        self, hop: Hop, chain: Chain, orders: Orders, passed_over: set[Identity | Contact]
    ) -> Route | None:
        """Choose a route that has `hop` in it: where others fill the length of a chain, the last of them has to go."""
        while (route := self._choose(chain, orders, passed_over)) and hop not in route.hops:
            passed_over = passed_over | {route.hops[-1].identity}
        return route

    def _choose(self, chain: Chain, orders: Orders, passed_over: PassedOver) -> Route | None:
        route = choose(chain, orders, passed_over, _NO_BACKOFF)
        return Route(self._chain, route.hops) if route else None

    def _shown(self, route: Route) -> Walk | None:
        """Return what an earlier walk shows of this route: its own result, or that of the same first hops."""
        for walk in self._walks:
            length = _decided_by(walk)
            alike = walk.route.hops[:length] == route.hops[:length] and len(walk.route.hops) == len(route.hops)
            if alike:
                return replace(walk, route=route)
        return None

    async def _walk(self, route: Route) -> Walk:
        self._walks.append(await self._walk_one(route))
        return self._walks[-1]


def _orders(chain: Chain) -> Orders:
    """Return the hops for each place as they are declared, whatever the pick of its group is."""
    return [list({hop.identity: hop for hop in hops_of((place,))}.values()) for place in chain.hops]


def _decided_by(walk: Walk) -> int:
    """Return how many hops, from the first on, made a walk end as it did."""
    if walk.error is None or walk.leg is None:
        return len(walk.route.hops)
    was_about_the_next = walk.leg.next is not None and walk.error.place.step in (State.REQUEST, RESOLVE)
    return walk.leg.position + was_about_the_next


def _standing(report: HopReport, working: Collection[Identity]) -> Standing:
    """Decide the state of a member by the walk that shows it, given the hops that work in some walk."""
    walk, identity = report.walk, report.hop.identity
    if walk.error is None or walk.failed_at is None:
        return Standing.WORKS
    suspects = [suspect.hop.identity for suspect in judge(walk.error, walk.leg).suspects]
    guilty = next((suspect for suspect in suspects if suspect not in working), identity)
    if guilty == identity and identity in suspects:
        return Standing.FAILED
    if report.position < walk.failed_at:
        return Standing.WORKS
    asked = walk.error.place.step == State.REQUEST
    return Standing.UNDECIDED if report.position == walk.failed_at and asked else Standing.NOT_REACHED
