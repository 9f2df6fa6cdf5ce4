"""Chains and groups of hops: what may be gone through, in which order, and who chooses where there is a choice.

A `Chain` is what people declare. Some of its places may be held by a `Group`, of which one hop at a time stands there.
A `Route` is a chain with all of that decided: hops and nothing else. Only routes are walked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from chainsocks.config.extras import DNS, require
from chainsocks.config.hops import Hop, Identity, Isolate, NamesOnly, Pipeline, parse_hop_url
from chainsocks.protocol.address import Address, printable

__all__ = ["DIRECT", "Chain", "Group", "Pick", "Route", "SameMember", "Udp", "hops_of", "same_members"]


class Udp(StrEnum):
    """What a chain does with UDP ASSOCIATE."""

    NESTED = "nested"
    """Through an association at every hop, each opened through the hops before it."""
    REFUSE = "refuse"


class Pick(StrEnum):
    """In which order a group's members are tried. Whatever it is, those that rest come last."""

    FAILOVER = "failover"
    """As they are declared."""
    ROUND_ROBIN = "round-robin"
    """Each request begins one further."""
    RANDOM = "random"
    """By lot, with weights."""
    FASTEST = "fastest"
    """The quickest dial first; another one takes over when it is clearly quicker."""
    STICKY = "sticky"
    """The same client gets the same member for the same destination, for as long as that lives."""


@dataclass(frozen=True, slots=True, init=False)
class Group:
    """Several hops, or groups of them, for one place in a chain. Hops may be given as URLs.

    `weights` go with `Pick.RANDOM`, one for each member. `hedge`: after so many seconds without success the next member
    is tried beside the first. With `retry_refused` the destination's own refusal is not believed before all members
    have told it. `check` seconds lie between two active checks of each member: a greeting, or a connection to
    `check_target` where there is one; None (and infinity) leaves it to the requests to find out. Servers check.

    Raises:
        ValueError: a URL that is not a hop's, no member, two members that are the same, or weights that do not fit.
    """

    hops: tuple[Hop | Group, ...]
    name: str
    pick: Pick
    weights: tuple[float, ...]
    hedge: float | None
    retry_refused: bool
    check: float | None
    check_target: Address | None

    def __init__(
        self,
        *hops: Hop | Group | str,
        name: str = "group",
        pick: Pick = Pick.FAILOVER,
        weights: tuple[float, ...] = (),
        hedge: float | None = None,
        retry_refused: bool = False,
        check: float | None = None,
        check_target: Address | None = None,
    ) -> None:
        if not hops:
            raise ValueError("a group needs at least one hop")
        if weights and (len(weights) != len(hops) or min(weights) <= 0):
            raise ValueError("expected one weight for each member, all of them more than 0")
        members = _made(hops)
        if problem := next(same_members(members), None):
            raise ValueError(f"member {problem.index + 1} of the group: {problem}")
        object.__setattr__(self, "hops", members)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "pick", Pick(pick))
        object.__setattr__(self, "weights", weights or (1.0,) * len(hops))
        object.__setattr__(self, "hedge", hedge)
        object.__setattr__(self, "retry_refused", retry_refused)
        object.__setattr__(self, "check", None if check == math.inf else check)
        object.__setattr__(self, "check_target", check_target)


@dataclass(frozen=True, slots=True, init=False)
class Chain:
    """Ordered places, each a hop or a group of them: the first is the one we connect to. No places: the direct way.

    Hops may be given as URLs, as in ``Chain("socks5://127.0.0.1:9050", "socks4a://fred@10.0.0.2:1080")``.
    `dial` bounds the way through all of them in seconds; None means ``[timeouts] dial``. `udp` is `Udp.NESTED` where it
    is not given and all hops can do that (`Hop.carries_no_udp`). `resolver` is asked, through all hops, what clients
    want to have looked up, unless the last hop does that; it takes the extra ``dns``. `hedge`: after so many seconds
    without success another way is tried beside the first. `names_only` holds beside the listener's: the stricter one
    wins. `pipeline`, which may be given as text, holds for each hop that has none of its own, whoever stands at a
    place.

    A chain gets shorter only where it says so: with `skip_dead` hops that rest, or have failed in this very request,
    are left out; at least one stays. `length` is then how many hops the way has, not one less: the first that live.

    Raises:
        ValueError: a URL that is not a hop's, UDP through hops that cannot carry it, a resolver without dnspython, a
            length that cannot be, or no kind of `Pipeline`.
    """

    hops: tuple[Hop | Group, ...]
    name: str
    dial: float | None
    udp: Udp
    resolver: Address | None
    names_only: NamesOnly
    hedge: float | None
    skip_dead: bool
    length: int | None
    pipeline: Pipeline
    route: Route | None = field(compare=False, repr=False)
    """The only way that there is through this chain; None where there is a choice."""
    isolates: bool = field(compare=False, repr=False)
    """Whether any of its hops gets a login that depends on the session."""

    def __init__(
        self,
        *hops: Hop | Group | str,
        name: str = "default",
        dial: float | None = None,
        udp: Udp | None = None,
        resolver: Address | None = None,
        names_only: NamesOnly = NamesOnly.OFF,
        hedge: float | None = None,
        skip_dead: bool = False,
        length: int | None = None,
        pipeline: Pipeline | str = Pipeline.OFF,
    ) -> None:
        made = _made(hops)
        object.__setattr__(self, "hops", made)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "dial", dial)
        if resolver:
            require(*DNS)
        object.__setattr__(self, "resolver", resolver)
        object.__setattr__(self, "isolates", any(hop.isolate is not Isolate.OFF for hop in hops_of(made)))
        object.__setattr__(self, "names_only", names_only)
        object.__setattr__(self, "hedge", hedge)
        object.__setattr__(self, "skip_dead", skip_dead)
        object.__setattr__(self, "length", length)
        object.__setattr__(self, "pipeline", Pipeline(pipeline))
        if length is not None and not (skip_dead and 1 <= length <= len(made)):
            raise ValueError("length goes with skip_dead = true, and is at least 1 and at most the number of hops")
        unfit = next((why for hop in hops_of(made) if (why := hop.carries_no_udp)), None)
        if unfit and udp is Udp.NESTED:
            raise ValueError(f"{unfit}; use 'refuse'")
        object.__setattr__(self, "udp", udp or (Udp.REFUSE if unfit else Udp.NESTED))
        fixed = tuple(hop for hop in made if isinstance(hop, Hop))
        only = None if skip_dead or len(fixed) < len(made) else Route(self, fixed)
        object.__setattr__(self, "route", only)

    def __str__(self) -> str:
        return " -> ".join(hop.name for hop in self.hops) or "direct"

    def can_replace(self, hop: Hop) -> bool:
        """Tell whether a request can avoid `hop`: it is a member of a group, or the chain may leave it out."""
        groups = tuple(place for place in self.hops if isinstance(place, Group))
        return self.skip_dead or any(member.identity == hop.identity for member in hops_of(groups))

    def with_each(self, change: Callable[[Hop], Hop]) -> Chain:
        """Return the same chain with each hop, in groups as well, in a changed form."""
        return Chain(*_changed(self.hops, change), **_keys(self, "hops", "route", "isolates"))


@dataclass(frozen=True, slots=True)
class Route:
    """One way through a chain: each of its places held by a hop."""

    chain: Chain
    hops: tuple[Hop, ...]

    def __str__(self) -> str:
        return " -> ".join(hop.name for hop in self.hops) or "direct"


def hops_of(members: tuple[Hop | Group, ...]) -> Iterator[Hop]:
    """Go through all hops of a chain or a group, those of the groups in it too."""
    for member in members:
        if isinstance(member, Hop):
            yield member
        else:
            yield from hops_of(member.hops)


@dataclass(frozen=True, slots=True)
class SameMember:
    """A member of a group that an earlier member is as well; as text, the complaint about it."""

    index: int
    member: Hop | Group
    earlier: Hop | Group

    def __str__(self) -> str:
        name, earlier = printable(self.member.name), printable(self.earlier.name)
        if isinstance(self.member, Group) or self.member == self.earlier:
            return f"{name!r} is there twice; take one out, or give `weights` to prefer it"
        return f"{name!r} is the same hop as {earlier!r}: same protocol, address and login; take one of them out"


def same_members(members: Sequence[Hop | Group]) -> Iterator[SameMember]:
    """Find the members of a group that are there twice: groups that are equal, and hops of one identity."""
    first: dict[Identity, int] = {}
    for index, member in enumerate(members):
        earlier = members.index(member) if isinstance(member, Group) else first.setdefault(member.identity, index)
        if earlier < index:
            yield SameMember(index, member, members[earlier])


def _changed(members: tuple[Hop | Group, ...], change: Callable[[Hop], Hop]) -> Iterator[Hop | Group]:
    for member in members:
        if isinstance(member, Hop):
            yield change(member)
        else:
            yield Group(*_changed(member.hops, change), **_keys(member, "hops"))


def _keys(value: Chain | Group, *left_out: str) -> dict[str, Any]:
    return {key.name: getattr(value, key.name) for key in fields(value) if key.name not in left_out}


def _made(hops: tuple[Hop | Group | str, ...]) -> tuple[Hop | Group, ...]:
    return tuple(parse_hop_url(hop) if isinstance(hop, str) else hop for hop in hops)


DIRECT = Chain(name="direct")
