"""Ask the members of groups with `check` whether they live, so that no client has to find out.

1. A member that no request has proved to live for `check` seconds is greeted, through the hops before its group, and
   left. With `check_target` it is asked to connect there instead; what is behind the group is never walked.
2. A member that rests is asked when its rest is over at the latest. Meanwhile no client tries it, unless all others
   rest as well.
3. Whoever fails rests; nobody does for what the target or another hop did. Where the member or the hop before it may be
   to blame, another member is asked: if that one can be reached, it was the member.
4. A greeting is less than a dial: it does not end the rest of a hop that has failed at a request. And no check is a
   dial time: it would be compared with those of requests, which go to other places, by longer ways.
5. They do not all ask at once: the first time is spread over `check` seconds, each later one has jitter, and there are
   never more than a few at a time.

Each process checks for itself. A server that stops cancels its checks, and what they had open is closed.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import trio

from chainsocks.chain.blame import Confidence, Suspect, judge
from chainsocks.chain.dial import close_upstream
from chainsocks.chain.greet import GreetingWalk
from chainsocks.chain.health import JITTER
from chainsocks.chain.walk import Walk
from chainsocks.config.chains import Chain, Group, Route, hops_of
from chainsocks.config.hops import Hop, Identity
from chainsocks.errors import DialError, HopRefused
from chainsocks.protocol.address import Address
from chainsocks.routing.isolation import Circumstances, isolated
from chainsocks.routing.pick import Picks, choose
from chainsocks.session.service import Service

__all__ = ["AT_ONCE", "Member", "check_members", "members_to_check"]

AT_ONCE = 8
"""Checks at a time."""

OTHERS = 3
"""Other members that are asked, where a failure may be somebody else's."""

log = logging.getLogger("chainsocks.health")


@dataclass(frozen=True, slots=True)
class Member:
    """A hop to check, the place in the chain where it stands, and how often and for what it is asked."""

    hop: Hop
    chain: Chain
    index: int
    every: float
    """In seconds."""
    target: Address | None
    """None for a greeting."""

    @property
    def before(self) -> tuple[Hop | Group, ...]:
        """The places that are walked on the way to it."""
        return self.chain.hops[: self.index]

    @property
    def others(self) -> Iterator[Hop]:
        """Those that may hold the same place."""
        place = self.chain.hops[self.index : self.index + 1]
        return (hop for hop in hops_of(place) if hop.identity != self.hop.identity)


def members_to_check(chains: Iterable[Chain]) -> list[Member]:
    """Find the hops of all groups with `check`, each at its first place; of several groups the most frequent counts."""
    found: dict[Identity, Member] = {}
    for chain in chains:
        for index, place in enumerate(chain.hops):
            for group, every in _checked_groups(place):
                for hop in hops_of(group.hops):
                    member = Member(hop, chain, index, every, group.check_target)
                    known = found.get(hop.identity)
                    if known is None or every < known.every:
                        found[hop.identity] = member
    return list(found.values())


def _checked_groups(place: Hop | Group) -> Iterator[tuple[Group, float]]:
    """Go through the groups with `check` in a place, each with it."""
    if isinstance(place, Group):
        if place.check is not None:
            yield place, place.check
        for member in place.hops:
            yield from _checked_groups(member)


async def check_members(members: Sequence[Member], service: Service, rng: random.Random | None = None) -> None:
    """Check `members` until cancelled."""
    rng = rng or random.Random()  # noqa: S311  (it spreads checks, and keeps no secret)
    permits = trio.Semaphore(AT_ONCE)
    asker = _Asker(service)
    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(_Watch(member, asker, service, rng).run, permits)


class _Watch:
    """When one member is to be asked."""

    def __init__(self, member: Member, asker: _Asker, service: Service, rng: random.Random) -> None:
        self._member = member
        self._asker = asker
        self._health = service.choices.health
        self._random = rng
        self._pause = member.every
        self._asked_at = trio.current_time() - member.every * rng.random()
        self._fallen = trio.Event()

    async def run(self, permits: trio.Semaphore) -> None:
        """Ask whenever it is due."""
        with self._health.checking(self._member.hop, self._note_fall):
            while True:
                with trio.move_on_at(self._due):
                    await self._fallen.wait()
                if self._is_due:
                    async with permits:
                        if self._is_due:  # it may have been proved to live while we waited for our turn
                            await self._ask()

    async def _ask(self) -> None:
        try:
            await self._asker.check(self._member)
        except Exception as error:
            log.error("a bug in chainsocks ended a check: %s: %s", type(error).__name__, error)
            log.debug("where it happened", exc_info=error)
        self._asked_at = trio.current_time()
        self._pause = self._member.every * self._random.uniform(1 - JITTER, 1 + JITTER)

    @property
    def _due(self) -> float:
        """When to ask next: after a pause, or when a rest that has begun since we asked last is over."""
        hop = self._member.hop
        due = max(self._asked_at, self._health.last_success(hop)) + self._pause
        backoff_ends = self._health.backoff_ends(hop)
        return min(due, backoff_ends) if backoff_ends > self._asked_at else due

    @property
    def _is_due(self) -> bool:
        return trio.current_time() >= self._due

    def _note_fall(self) -> None:
        """Have the next time thought over."""
        self._fallen.set()
        self._fallen = trio.Event()


class _Asker:
    """Asks members, and tells what came of it."""

    def __init__(self, service: Service) -> None:
        self._config = service.config
        self._network = service.network
        self._health = service.choices.health
        self._picks = Picks()
        """Our own: whose turn it is among requests is not changed by checks."""
        self._circumstances = Circumstances(service.config.isolation_key)

    async def check(self, member: Member) -> None:
        """Ask one, and remember."""
        before = self._way_to(member)
        if before is None:
            return  # nobody is left to carry it
        walk, error = await self._ask(member, (*before, member.hop))
        if error is None:
            return
        verdict = judge(error, walk.leg)
        if not verdict.suspects:
            return
        suspect = verdict.suspects[0]
        is_member = suspect.hop.identity == member.hop.identity
        match verdict.confidence:
            case Confidence.CERTAIN:
                self._blame(suspect, member.chain, error)
            case Confidence.IF_ANOTHER_ROUTE_WORKS | Confidence.IF_PIPELINING_WORKS if is_member:
                if await self._another_is_reached(member, before, suspect):
                    self._blame(suspect, member.chain, error)
            case Confidence.HOP_OK_CANNOT_DO_THIS | Confidence.DESTINATION_FAILED if (
                isinstance(error, HopRefused) and is_member
            ):
                self._health.record_connects(before)
                self._health.record_greeting(member.hop)
            case _:
                pass  # it is about others, of whom the requests will tell

    def _way_to(self, member: Member) -> tuple[Hop, ...] | None:
        """Choose the hops before a member; None where nobody can stand there."""
        if not member.before:
            return ()
        chain = Chain(*member.before, name=member.chain.name, skip_dead=member.chain.skip_dead)
        orders = self._picks.orders(chain, b"", self._health)
        route = choose(chain, orders, {member.hop.identity}, self._health)
        return route.hops if route else None

    async def _ask(self, member: Member, hops: tuple[Hop, ...]) -> tuple[Walk, DialError | None]:
        """Walk to the last one of `hops`, under the limits of any dial, and leave nothing open."""
        circumstances = self._circumstances
        route = Route(member.chain, tuple(isolated(hop, circumstances) for hop in hops))
        timeouts, network = self._config.timeouts, self._network
        walk = (
            Walk(route, member.target, timeouts, network) if member.target else GreetingWalk(route, timeouts, network)
        )
        try:
            with network.open_scope(math.inf) as scope:
                if isinstance(walk, GreetingWalk):
                    await walk.greet(scope)
                    self._health.record_connects(hops[:-1])
                    self._health.record_greeting(hops[-1])
                else:
                    await close_upstream(await walk.go(scope))
                    self._health.record_connects(hops)
        except DialError as error:
            return walk, error
        return walk, walk.timeout() if scope.cancelled_caught else None

    async def _another_is_reached(self, member: Member, before: tuple[Hop, ...], suspect: Suspect) -> bool:
        """Tell whether another member can be reached by the same way, and do what this one was asked for."""
        others = [
            hop
            for hop in member.others
            if hop not in before and not suspect.is_used_by((hop,)) and not self._health.in_backoff(hop)
        ]
        others.sort(key=self._health.last_success, reverse=True)
        for other in others[:OTHERS]:
            _, error = await self._ask(member, (*before, other))
            if error is None:
                return True
        return False

    def _blame(self, suspect: Suspect, chain: Chain, error: DialError) -> None:
        """Put a hop into backoff, if the chain can do without it."""
        if chain.can_replace(suspect.hop):
            self._health.record_failure(suspect, error)
