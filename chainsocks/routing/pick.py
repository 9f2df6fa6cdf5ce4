"""Choose a route: the order in which the members of each group are tried, and one hop for each place of a chain.

1. Whatever a group's `Pick` says, members in backoff come last: they are tried when no other member is left.
2. No hop stands at two places that groups hold, nor beside itself where the chain names it. Hops are compared by
   identity, not by name.
3. A route has every place of its chain, unless the chain has `skip_dead`; it is never empty.

There is no clock and no network here: what is known of the hops is passed in.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Pick
from chainsocks.config.groups import Group, hops_of
from chainsocks.config.hops import Contact, Hop, Identity

__all__ = ["HYSTERESIS", "Known", "Orders", "PassedOver", "Picks", "choose", "vary"]

HYSTERESIS = 1.25
"""How many times as fast as the favourite of `Pick.FASTEST` another member has to be to take over from it."""

Orders = Sequence[Sequence[Hop]]
"""For each place of a chain, the hops that may stand there, in the order to try them."""

PassedOver = Collection[Identity | Contact]
"""What has failed for a request: hops by their identities, and all hops at an address."""

_GroupKey = tuple[str, tuple[Identity, ...]]
"""What a group is remembered by. The name alone would do for a server; a process may have many groups of one name."""


class Known(Protocol):
    """What is known of hops at the moment."""

    def in_backoff(self, hop: Hop) -> bool:
        """Tell whether it has failed lately and is to be avoided."""

    def dial_time(self, hop: Hop) -> float | None:
        """Return the seconds that dials through it take; None where none was measured."""

    def wants_measuring(self, hop: Hop) -> bool:
        """Tell whether its dial time is unknown or out of date, and no request is measuring it."""


class Picks:
    """The order of members, with what it needs from one request to the next: the turns and the favourites."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._turns: Counter[_GroupKey] = Counter()
        self._draws: dict[_GroupKey, deque[list[int]]] = {}
        """Orders of `Pick.RANDOM` that were drawn for requests to come."""
        self._favourites: dict[_GroupKey, Identity] = {}
        self._random = rng or random.Random()  # noqa: S311  (a choice of proxies, not a secret)

    def keep(self, groups: Iterable[Group]) -> None:
        """Forget what is remembered of groups that are not among `groups`."""
        kept = {_key_of(group) for group in groups}
        self._turns = Counter({key: turn for key, turn in self._turns.items() if key in kept})
        self._draws = {key: draws for key, draws in self._draws.items() if key in kept}
        self._favourites = {key: favourite for key, favourite in self._favourites.items() if key in kept}

    def orders(self, chain: Chain, key: bytes, known: Known, ahead: int | None = None) -> Orders:
        """Put the hops of each place of `chain` in order, for a request that `key` tells from others.

        A group that holds several places has one order, and takes one turn. With `ahead`, nothing is taken: the order
        is the one that the request after so many others will get.
        """
        made: list[Sequence[Hop]] = []
        for index, member in enumerate(chain.hops):
            if isinstance(member, Hop):
                made.append((member,))
            elif (first := chain.hops.index(member)) < index:
                made.append(made[first])
            else:
                made.append(self.order(member, key, known, ahead))
        return made

    def order(self, group: Group, key: bytes, known: Known, ahead: int | None = None) -> list[Hop]:
        """Put the hops of one group in order. Those of groups in it stand together, in their own order."""
        sets = [[member] if isinstance(member, Hop) else self.order(member, key, known, ahead) for member in group.hops]
        match group.pick:
            case Pick.FAILOVER:
                ranked = sets
            case Pick.ROUND_ROBIN:
                name = _key_of(group)
                turn = (self._turns[name] + (ahead or 0)) % len(sets)
                self._turns[name] += ahead is None
                ranked = sets[turn:] + sets[:turn]
            case Pick.RANDOM:
                ranked = [sets[index] for index in self._drawn(group, ahead)]
            case Pick.STICKY:
                ranks = [_rank(member.name, key) for member in group.hops]
                ranked = [sets[index] for index in sorted(range(len(sets)), key=ranks.__getitem__)]
            case Pick.FASTEST:
                ranked = self._by_speed(group, sets, known)
        hops: dict[Identity, Hop] = {}
        for members in ranked:
            for hop in members:
                hops.setdefault(hop.identity, hop)
        return sorted(hops.values(), key=known.in_backoff)

    def _drawn(self, group: Group, ahead: int | None) -> list[int]:
        """Return the random order of members, as indices, of the next request or of the one `ahead`."""
        draws = self._draws.setdefault(_key_of(group), deque())
        while len(draws) <= (ahead or 0):
            # Each member waits for an exponential time, at a rate that is its weight; they are ranked by arrival.
            waits = [self._random.expovariate(weight) for weight in group.weights]
            draws.append(sorted(range(len(waits)), key=waits.__getitem__))
        return draws.popleft() if ahead is None else draws[ahead]

    def _by_speed(self, group: Group, sets: list[list[Hop]], known: Known) -> list[list[Hop]]:
        """Rank members by the dial time of their first hop. The favourite stays until another is clearly faster."""
        living = [members for members in sets if not known.in_backoff(members[0])]
        times = {members[0].identity: known.dial_time(members[0]) for members in living}
        speeds = {identity: time for identity, time in times.items() if time is not None}
        if speeds:
            best, name = min(speeds, key=speeds.__getitem__), _key_of(group)
            favourite = self._favourites.get(name, best)
            if speeds.get(favourite, math.inf) > speeds[best] * HYSTERESIS:
                favourite = best
            self._favourites[name] = favourite
            speeds[favourite] = 0
        unknown = next((members for members in living if known.wants_measuring(members[0])), None)
        ranked = sorted(sets, key=lambda members: speeds.get(members[0].identity, math.inf))
        return ([unknown] if unknown else []) + ranked


def choose(chain: Chain, orders: Orders, passed_over: PassedOver, known: Known) -> Route | None:
    """Put a hop at each place of `chain`, none of those that are passed over; None where that cannot be."""
    places = [
        _Place([hop for hop in order if not hop.is_among(passed_over)] if passed_over else order, is_group)
        for order, is_group in zip(orders, (isinstance(member, Group) for member in chain.hops), strict=True)
    ]
    if not chain.skip_dead:
        return _seat(chain, places)
    living = [_Place([hop for hop in place.hops if not known.in_backoff(hop)], place.is_group) for place in places]
    return _seat_some(chain, living) or _seat_some(chain, places)


def vary(chain: Chain, orders: Orders, passed_over: PassedOver, known: Known, others: Sequence[Route]) -> Route | None:
    """Choose a route beside `others`, which are being tried: with other hops wherever its hedge allows.

    That is at every place where the chain has a `hedge`, and otherwise at those whose group has one.
    """
    busy = {hop.identity for route in others for hop in route.hops}
    fresh: list[Sequence[Hop]] = []
    for member, order in zip(chain.hops, orders, strict=True):
        if isinstance(member, Group):
            order = [hop for hop in order if not known.in_backoff(hop)]
            if chain.hedge is not None or member.hedge is not None:
                order.sort(key=lambda hop: hop.identity in busy)
        fresh.append(order)
    route = choose(chain, fresh, passed_over, known)
    return None if route is None or route in others else route


@dataclass(frozen=True, slots=True)
class _Place:
    """The hops that may stand at a place of a chain, the one to be preferred first."""

    hops: Sequence[Hop]
    is_group: bool


def _seat_some(chain: Chain, places: Sequence[_Place]) -> Route | None:
    """Leave out the places that no hop can hold, and those behind the chain's length."""
    held: list[_Place] = []
    for place in places:
        if _seat(chain, [*held, place]):
            held.append(place)
    wanted = chain.length or len(held)
    return _seat(chain, held[:wanted]) if held and len(held) >= wanted else None


def _seat(chain: Chain, places: Sequence[_Place]) -> Route | None:
    """Give each place the first of its hops that is free; a hop moves to another place if that makes room."""
    seats = {index: place.hops[0] for index, place in enumerate(places) if not place.is_group and place.hops}
    taken = {hop.identity for hop in seats.values()}
    holders: dict[Identity, int] = {}

    def seat(index: int, asked: set[Identity]) -> bool:
        held = []
        for hop in places[index].hops:
            identity = hop.identity
            if identity in taken or identity in asked:
                continue
            if identity not in holders:
                asked.add(identity)
                holders[identity] = index
                seats[index] = hop
                return True
            held.append((identity, hop))
        for identity, hop in held:
            asked.add(identity)
            if seat(holders[identity], asked):
                holders[identity] = index
                seats[index] = hop
                return True
        return False

    if not all(index in seats or seat(index, set()) for index in range(len(places))):
        return None
    return Route(chain, tuple(seats[index] for index in range(len(places))))


def _key_of(group: Group) -> _GroupKey:
    return group.name, tuple(hop.identity for hop in hops_of(group.hops))


def _rank(member: str, key: bytes) -> bytes:
    """Rank a member for a key, always the same: rendezvous hashing, after Thaler and Ravishankar (1996)."""
    return blake2b(key, digest_size=8, key=blake2b(member.encode(), digest_size=32).digest()).digest()
