"""Health checks: test the members of groups with `check`, so that no client has to find out that one is down.

1. A member that has had no successful request for `check` seconds is greeted, through the hops before its group, and
   the connection is closed. With `check_target` it is asked to connect there instead. No hop behind the group takes
   part.
2. A member in backoff is checked when its backoff ends, at the latest. Until then no client tries it, unless all others
   are in backoff as well.
3. With `check_target`, the check decides about failed requests. One that fails brings the next check forward, though
   not to less than `rest` after the last one.
4. A member that fails a check goes into backoff, but not for what the target or another hop did. Where the member or
   the previous hop may be guilty, another member is tried: if that one is reached, the member is guilty.
5. A greeting proves less than a dial: it does not end the backoff of a hop that has failed at a request. And no check
   counts as a dial time: requests go to other places, by longer routes.
6. Checks do not all start at once: the first is spread over `check` seconds, each later one has jitter, and only a few
   run at a time.

Each process makes its own checks. A server that stops cancels its checks, and what they had open is closed.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import trio

from chainsocks.chain.blame import Confidence, Suspect, judge
from chainsocks.chain.health import JITTER
from chainsocks.chain.operations import close_upstream, greet, open_connection
from chainsocks.chain.trip import Trip
from chainsocks.config.chains import Chain, Route
from chainsocks.config.groups import Group, hops_of
from chainsocks.config.hops import Hop, Identity
from chainsocks.errors import DialError, HopRefused
from chainsocks.observe.privacy import shown
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.routing.isolation import Circumstances, isolated
from chainsocks.routing.pick import Picks, choose
from chainsocks.session.service import Service

__all__ = ["AT_ONCE", "Member", "check_members", "members_to_check"]

AT_ONCE = 8
"""Checks at a time."""

OTHERS = 3
"""Other members that are tried, where a failure may be another hop's."""

log = logging.getLogger("chainsocks.health")


@dataclass(frozen=True, slots=True)
class Member:
    """A hop to check, its place in a chain, and how often and with what target it is checked."""

    hop: Hop
    chain: Chain
    index: int
    every: float
    """In seconds."""
    target: Address | None
    """What it is asked to connect to; None for a greeting."""

    @property
    def before(self) -> tuple[Hop | Group, ...]:
        """The places before it in the chain."""
        return self.chain.hops[: self.index]

    @property
    def others(self) -> Iterator[Hop]:
        """The other hops that may hold the same place."""
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
    checker = _Checker(service)
    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(_Schedule(member, checker, service, rng).run, permits)


class _Schedule:
    """When one member is to be checked."""

    def __init__(self, member: Member, checker: _Checker, service: Service, rng: random.Random) -> None:
        self._member = member
        self._checker = checker
        self._health = service.dialer.choices.health
        self._random = rng
        self._pause = member.every
        self._checked_at = trio.current_time() - member.every * rng.random()
        self._rest = service.config.health.rest
        self._doubt_due = math.inf
        self._down = trio.Event()

    async def run(self, permits: trio.Semaphore) -> None:
        """Check the member whenever it is due, until cancelled."""
        on_doubt = self._note_doubt if self._member.target else None
        with self._health.checking(self._member.hop, self._note_down, on_doubt):
            while True:
                with trio.move_on_at(self._due):
                    await self._down.wait()
                if self._is_due:
                    async with permits:
                        if self._is_due:  # a request may have succeeded while this waited for its turn
                            await self._check()

    async def _check(self) -> None:
        try:
            await self._checker.check(self._member)
        except Exception as error:
            log.error("a bug in chainsocks ended a check: %s: %s", type(error).__name__, shown(error))
            log.debug("where it happened", exc_info=error)
        self._checked_at, self._doubt_due = trio.current_time(), math.inf
        self._pause = self._member.every * self._random.uniform(1 - JITTER, 1 + JITTER)

    @property
    def _due(self) -> float:
        """When to check next: after a pause, or when a backoff ends that has begun since the last check."""
        hop = self._member.hop
        due = max(self._checked_at, self._health.last_success(hop)) + self._pause
        due = min(due, self._doubt_due)
        backoff_ends = self._health.backoff_ends(hop)
        return min(due, backoff_ends) if backoff_ends > self._checked_at else due

    @property
    def _is_due(self) -> bool:
        return trio.current_time() >= self._due

    def _note_doubt(self) -> None:
        """Check as soon as the last check was long enough ago: a request has failed after it was sent."""
        self._doubt_due = max(trio.current_time(), self._checked_at + self._rest)
        self._note_down()

    def _note_down(self) -> None:
        """Compute the next time anew."""
        self._down.set()
        self._down = trio.Event()


class _Checker:
    """Checks members, and records what came of it."""

    def __init__(self, service: Service) -> None:
        self._dialer = service.dialer
        self._health = service.dialer.choices.health
        self._picks = Picks()
        """Its own, so that checks do not change whose turn it is among requests."""
        self._circumstances = Circumstances(service.config.isolation_key)

    async def check(self, member: Member) -> None:
        """Check one member, and record the result."""
        before = self._hops_before(member)
        if before is None:
            return  # no hop is left to hold a place before it
        trip, error = await self._try(member, (*before, member.hop))
        if error is None:
            return
        verdict = judge(error, trip.leg)
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
                self._health.record_answer(member.hop)
            case _:
                pass  # the failure is about other hops, and requests will show it

    def _hops_before(self, member: Member) -> tuple[Hop, ...] | None:
        """Choose the hops before a member; None where no hop can hold one of the places."""
        if not member.before:
            return ()
        chain = Chain(*member.before, name=member.chain.name, skip_dead=member.chain.skip_dead)
        orders = self._picks.orders(chain, b"", self._health)
        route = choose(chain, orders, {member.hop.identity}, self._health)
        return route.hops if route else None

    async def _try(self, member: Member, hops: tuple[Hop, ...]) -> tuple[Trip, DialError | None]:
        """Go to the last one of `hops`, with the limits of any dial, and leave nothing open."""
        circumstances = self._circumstances
        route = Route(member.chain, tuple(isolated(hop, circumstances) for hop in hops))
        trip = self._dialer.trip(route, member.target or UNSPECIFIED)
        try:
            if member.target is None:
                await trip.run(greet)
                self._health.record_connects(hops[:-1])
                self._health.record_greeting(hops[-1])
            else:
                await close_upstream(await trip.run(open_connection))
                self._health.record_connects(hops)
        except DialError as error:
            return trip, error
        return trip, None

    async def _another_is_reached(self, member: Member, before: tuple[Hop, ...], suspect: Suspect) -> bool:
        """Return whether another member can be reached by the same hops, and does what this one was asked for."""
        others = [
            hop
            for hop in member.others
            if hop not in before and not suspect.is_used_by((hop,)) and not self._health.in_backoff(hop)
        ]
        others.sort(key=self._health.last_success, reverse=True)
        for other in others[:OTHERS]:
            _, error = await self._try(member, (*before, other))
            if error is None:
                return True
        return False

    def _blame(self, suspect: Suspect, chain: Chain, error: DialError) -> None:
        """Put a hop into backoff, if the chain can do without it."""
        if chain.can_replace(suspect.hop):
            self._health.record_failure(suspect, error)
