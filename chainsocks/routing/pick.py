"""Which hop stands at each place of a chain: the members of a group in the order to try them, and a route made of them.

1. Whatever a group's `Pick` says, members that rest come last: they are tried when nobody else is left.
2. No hop stands at two places that groups hold, nor beside itself where the chain has it by name.
3. A route has every place of its chain, but for a chain with `skip_dead`; never none.

No clock and no network here: what is known of the hops is passed in.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from chainsocks.config.chains import Chain, Group, Pick, Route
from chainsocks.config.hops import Hop

__all__ = ["HYSTERESIS", "Known", "Orders", "Picks", "choose", "vary"]

HYSTERESIS = 1.25
"""How many times as fast as the favourite of `Pick.FASTEST` another member has to be to take over from it."""

Orders = Mapping[str, Sequence[Hop]]
"""For each group of a chain, by name, its hops in the order to try them."""


class Known(Protocol):
    """What is known of hops at the moment."""

    def in_backoff(self, hop: Hop) -> bool:
        """Whether it has failed lately and is to be left alone."""

    def dial_time(self, hop: Hop) -> float | None:
        """Seconds that dials through it take; None where nobody has measured them."""

    def wants_measuring(self, hop: Hop) -> bool:
        """Whether what is known of its dial time is out of date, and nobody is at it."""


class Picks:
    """The order of members, and what it remembers from one request to the next: whose turn it is, and who leads."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._turns: Counter[str] = Counter()
        self._favourites: dict[str, str] = {}
        self._random = rng or random.Random()  # noqa: S311  (a choice of proxies, not a secret)

    def orders(self, chain: Chain, key: bytes, known: Known) -> Orders:
        """Put the members of all groups in `chain` in order, for a request that `key` tells from others."""
        groups = {member.name: member for member in chain.hops if isinstance(member, Group)}
        return {name: self.order(group, key, known) for name, group in groups.items()}

    def order(self, group: Group, key: bytes, known: Known) -> list[Hop]:
        """Put the hops of one group in order. Those of groups in it stand together, in their own order."""
        sets = [[member] if isinstance(member, Hop) else self.order(member, key, known) for member in group.hops]
        match group.pick:
            case Pick.FAILOVER:
                ranked = sets
            case Pick.ROUND_ROBIN:
                turn = self._turns[group.name] % len(sets)
                self._turns[group.name] += 1
                ranked = sets[turn:] + sets[:turn]
            case Pick.RANDOM:
                # Each one's waiting time, as if they came by chance, at a rate that is its weight: who is first?
                waits = [self._random.expovariate(weight) for weight in group.weights]
                ranked = [sets[index] for index in sorted(range(len(sets)), key=waits.__getitem__)]
            case Pick.STICKY:
                ranks = [_rank(member.name, key) for member in group.hops]
                ranked = [sets[index] for index in sorted(range(len(sets)), key=ranks.__getitem__)]
            case Pick.FASTEST:
                ranked = self._by_speed(group, sets, known)
        hops = list(dict.fromkeys(hop for members in ranked for hop in members))
        return sorted(hops, key=known.in_backoff)

    def _by_speed(self, group: Group, sets: list[list[Hop]], known: Known) -> list[list[Hop]]:
        """Rank members by the dial time of whom they would send first; the favourite keeps its place when in doubt."""
        living = [members for members in sets if not known.in_backoff(members[0])]
        times = {members[0].name: known.dial_time(members[0]) for members in living}
        speeds = {name: time for name, time in times.items() if time is not None}
        if speeds:
            best = min(speeds, key=speeds.__getitem__)
            favourite = self._favourites.get(group.name, best)
            if speeds.get(favourite, math.inf) > speeds[best] * HYSTERESIS:
                favourite = best
            self._favourites[group.name] = favourite
            speeds[favourite] = 0
        curious = next((members for members in living if known.wants_measuring(members[0])), None)
        ranked = sorted(sets, key=lambda members: speeds.get(members[0].name, math.inf))
        return ([curious] if curious else []) + ranked


def choose(chain: Chain, orders: Orders, passed_over: Collection[str], known: Known) -> Route | None:
    """Put a hop at each place of `chain`, none of those that are passed over; None where that cannot be."""
    places = [_place(member, orders, passed_over) for member in chain.hops]
    if not chain.skip_dead:
        return _seat(chain, places)
    living = [_Place([hop for hop in place.hops if not known.in_backoff(hop)], place.is_group) for place in places]
    return _seat_some(chain, living) or _seat_some(chain, places)


def vary(
    chain: Chain, orders: Orders, passed_over: Collection[str], known: Known, others: Sequence[Route]
) -> Route | None:
    """Choose a route beside `others`, which are being tried: with other hops wherever its hedge allows.

    That is at every place where the chain has a `hedge`, and otherwise at those whose group has one.
    """
    busy = {hop.name for route in others for hop in route.hops}
    hedged = {
        member.name: chain.hedge is not None or member.hedge is not None
        for member in chain.hops
        if isinstance(member, Group)
    }
    varied = {
        name: sorted(order, key=lambda hop: hop.name in busy and not known.in_backoff(hop)) if hedged[name] else order
        for name, order in orders.items()
    }
    fresh = {name: [hop for hop in order if not known.in_backoff(hop)] for name, order in varied.items()}
    route = choose(chain, fresh, passed_over, known)
    return None if route is None or route in others else route


@dataclass(frozen=True, slots=True)
class _Place:
    """Who may stand at a place of a chain, the one to be preferred first."""

    hops: list[Hop]
    is_group: bool


def _place(member: Hop | Group, orders: Orders, passed_over: Collection[str]) -> _Place:
    hops = orders[member.name] if isinstance(member, Group) else (member,)
    return _Place([hop for hop in hops if hop.name not in passed_over], isinstance(member, Group))


def _seat_some(chain: Chain, places: Sequence[_Place]) -> Route | None:
    """Leave out the places that nobody can hold, and those behind the chain's length."""
    held: list[_Place] = []
    for place in places:
        if _seat(chain, [*held, place]):
            held.append(place)
    wanted = chain.length or len(held)
    return _seat(chain, held[:wanted]) if held and len(held) >= wanted else None


def _seat(chain: Chain, places: Sequence[_Place]) -> Route | None:
    """Give each place the first of its hops that is free; whoever holds it moves on if that helps somebody else."""
    seats = {index: place.hops[0] for index, place in enumerate(places) if not place.is_group and place.hops}
    taken = {hop.name for hop in seats.values()}
    holders: dict[str, int] = {}

    def seat(index: int, asked: set[str]) -> bool:
        hops = [hop for hop in places[index].hops if hop.name not in taken and hop.name not in asked]
        for hop in sorted(hops, key=lambda hop: hop.name in holders):
            asked.add(hop.name)
            if hop.name not in holders or seat(holders[hop.name], asked):
                holders[hop.name] = index
                seats[index] = hop
                return True
        return False

    if not all(index in seats or seat(index, set()) for index in range(len(places))):
        return None
    return Route(chain, tuple(seats[index] for index in range(len(places))))


def _rank(member: str, key: bytes) -> bytes:
    """Rank a member for a key, always the same: rendezvous hashing, after Thaler and Ravishankar (1996)."""
    return blake2b(key, digest_size=8, key=blake2b(member.encode(), digest_size=32).digest()).digest()
