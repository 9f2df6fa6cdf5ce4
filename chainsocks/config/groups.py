"""Groups: several hops for one place in a chain, of which one at a time stands there.

`Group` and `chainsocks.config.chains.Chain` take their members one by one, and check them. So they have constructors of
their own, for which the helpers at the end of this module are; apart from that they are frozen dataclasses like all
others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chainsocks.config.choices import Pick, PickText
from chainsocks.config.hops import Hop, Identity, parse_hop_url
from chainsocks.config.options import AddressLike, as_address, as_choice, as_flag, as_seconds, as_text, shown
from chainsocks.config.values import parse_target
from chainsocks.protocol.address import Address, printable
from chainsocks.protocol.masking import masked

__all__ = [
    "Group",
    "SameMember",
    "as_members",
    "change_hops",
    "fill",
    "groups_of",
    "hops_of",
    "same_members",
    "with_hops",
]


class _Slotted(Protocol):
    __slots__: tuple[str, ...]


ValueT = TypeVar("ValueT", bound=_Slotted)


@dataclass(frozen=True, slots=True, init=False)
class Group:
    """Several hops, or groups of them, for one place in a chain. Hops may be given as URLs.

    Raises:
        ValueError: a URL that is not a hop's, no member, two members that are the same, weights that do not fit, or a
            value of another kind.
    """

    hops: tuple[Hop | Group, ...]
    name: str
    pick: Pick
    weights: tuple[float, ...]
    """One for each member, for `Pick.RANDOM`."""
    hedge: float | None
    """Seconds without success after which the next member is tried beside the first."""
    retry_refused: bool
    """Whether a refusal that tells of the destination is believed only when all members have reported it."""
    check: float | None
    """Seconds between two health checks of each member, by a server; None for no checks."""
    check_target: Address | None
    """What a member is asked to connect to in a health check; None for a greeting and a login only."""

    def __init__(
        self,
        *hops: Hop | Group | str,
        name: str = "group",
        pick: Pick | PickText = Pick.FAILOVER,
        weights: Sequence[float] = (),
        hedge: float | None = None,
        retry_refused: bool = False,
        check: float | None = None,
        check_target: AddressLike | None = None,
    ) -> None:
        if not hops:
            raise ValueError("a group needs at least one hop")
        members = as_members(hops, "Group")
        if problem := next(same_members(members), None):
            raise ValueError(f"member {problem.index + 1} of the group: {problem}")
        fill(
            self,
            hops=members,
            name=as_text(name, "the name of a group"),
            pick=as_choice(Pick, pick, "pick"),
            weights=_weights(weights, len(members)),
            hedge=None if hedge is None else as_seconds(hedge, "hedge"),
            retry_refused=as_flag(retry_refused, "retry_refused"),
            check=None if check is None or (seconds := as_seconds(check, "check")) == math.inf else seconds,
            check_target=None if check_target is None else as_address(check_target, "check_target", parse_target),
        )

    def with_each(self, change: Callable[[Hop], Hop]) -> Group:
        """Return the same group with each hop, in groups as well, changed."""
        return with_hops(self, tuple(change_hops(self.hops, change)))


def hops_of(members: tuple[Hop | Group, ...]) -> Iterator[Hop]:
    """Yield all hops of a chain or a group, those of the groups in it too."""
    for member in members:
        if isinstance(member, Hop):
            yield member
        else:
            yield from hops_of(member.hops)


def groups_of(members: tuple[Hop | Group, ...]) -> Iterator[Group]:
    """Yield all groups of a chain or a group, those in groups too."""
    for member in members:
        if isinstance(member, Group):
            yield member
            yield from groups_of(member.hops)


@dataclass(frozen=True, slots=True)
class SameMember:
    """A member of a group that an earlier member is as well; as text, the complaint about it."""

    index: int
    member: Hop | Group
    earlier: Hop | Group

    def __str__(self) -> str:
        name, earlier = printable(masked(self.member.name)), printable(masked(self.earlier.name))
        if isinstance(self.member, Group) or self.member == self.earlier:
            return f"{name!r} is listed twice; take one out, or give `weights` to prefer it"
        return f"{name!r} is the same hop as {earlier!r}: same protocol, address and login; take one of them out"


def same_members(members: Sequence[Hop | Group]) -> Iterator[SameMember]:
    """Find the members that a group lists twice: groups that are equal, and hops of one identity."""
    first: dict[Identity, int] = {}
    for index, member in enumerate(members):
        earlier = members.index(member) if isinstance(member, Group) else first.setdefault(member.identity, index)
        if earlier < index:
            yield SameMember(index, member, members[earlier])


def _weights(weights: object, count: int) -> tuple[float, ...]:
    if not isinstance(weights, tuple | list) or len(weights) not in (0, count):
        raise ValueError(f"weights has to be a list of one weight for each member, which are {count}")
    return tuple(_weight(weight) for weight in weights) or (1.0,) * count


def _weight(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"a weight is {shown(value)}; expected one weight for each member, all of them more than 0")
    return float(value)


def as_members(hops: tuple[object, ...], name: str) -> tuple[Hop | Group, ...]:
    """Return the members of a chain or a group, read from URLs where they are given as such."""
    return tuple(_member(hop, name) for hop in hops)


def _member(hop: object, name: str) -> Hop | Group:
    match hop:
        case Hop() | Group():
            return hop
        case str():
            return parse_hop_url(hop)
        case object(hops=tuple()):  # what has hops, and is neither a hop nor a group
            raise ValueError(f"a chain is no member of a {name.lower()}; write {name}(*chain.hops)")
        case list() | tuple() | set() | frozenset() | Iterator():
            problem = f"the hops of a {name.lower()} are given one by one, not as a {type(hop).__name__}"
            raise ValueError(f'{problem}; write {name}(*hops), or {name}("socks5://127.0.0.1:9050", ...)')
    raise ValueError(f'a hop is {shown(hop)}; write a URL, such as "socks5://127.0.0.1:1080", a Hop or a Group')


def change_hops(members: tuple[Hop | Group, ...], change: Callable[[Hop], Hop]) -> Iterator[Hop | Group]:
    """Yield the members of a chain or a group, with each hop changed, in groups as well."""
    return (change(member) if isinstance(member, Hop) else member.with_each(change) for member in members)


def with_hops(value: ValueT, hops: tuple[Hop | Group, ...]) -> ValueT:
    """Copy a value with other hops, without the checks of a constructor: isolated chains are made for each session."""
    changed: ValueT = object.__new__(type(value))
    fill(changed, **{name: getattr(value, name) for name in value.__slots__} | {"hops": hops})
    return changed


def fill(value: object, **attributes: object) -> None:
    """Set attributes of a frozen value."""
    put = object.__setattr__
    for name, attribute in attributes.items():
        put(value, name, attribute)
