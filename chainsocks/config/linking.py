"""Resolve the names in ``[groups]`` and ``[chains]`` to hops and groups, and complain of those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise, product

from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group, hops_of, same_members
from chainsocks.config.hops import Hop
from chainsocks.config.rules import DIRECTLY
from chainsocks.config.schema_routing import GroupTable
from chainsocks.config.suggest import describe, suggest

__all__ = ["Complain", "Members", "link_groups", "no_such_member", "unfit"]

Complain = Callable[[tuple[str | int, ...], str], None]
"""Reports a problem: its place in the file, and what is wrong there."""

Members = Mapping[str, Hop | Group]
"""What a name in a list of hops may stand for."""


_RULE = f'use a rule that has chain = "{DIRECTLY}"'


def link_groups(
    tables: Mapping[str, GroupTable], hops: Mapping[str, Hop], declared: Sequence[str], complain: Complain
) -> dict[str, Group]:
    """Make the groups whose members all exist, among `hops` and the groups themselves; complain of the other groups.

    `declared` are the names of all hops and groups in the file, also of those that could not be read.
    """
    groups: dict[str, Group] = {}
    for name in tables:
        _link(name, (), tables, hops, groups, complain)
    for name, table in tables.items():
        if name in hops:
            complain(("groups", name), "this is the name of a hop, too; give one of them another")
        for index, called in enumerate(table.hops):
            if called not in declared:
                complain(("groups", name, "hops", index), no_such_member(called, declared, _RULE))
        for called in table.weights or {}:
            if called not in table.hops:
                complain(("groups", name, "weights", called), f"this is none of its hops{suggest(called, table.hops)}")
        if table.check_target and name in groups:
            for hop in hops_of(groups[name].hops):
                if why := hop.cannot_carry(table.check_target):
                    complain(("groups", name, "check_target"), f"hop {describe(hop.name)}: {why}")
    return groups


def no_such_member(called: str, declared: Sequence[str], without_hops: str) -> str:
    """Return the complaint about a name in a list of hops that no hop or group has.

    `without_hops` is what to do instead where the name is "direct".
    """
    if called == DIRECTLY:
        return f'"{DIRECTLY}" is no hop: to go without hops, {without_hops}'
    return f"no hop or group is called {describe(called)}{suggest(called, declared)}"


def _link(
    name: str,
    above: tuple[str, ...],
    tables: Mapping[str, GroupTable],
    hops: Mapping[str, Hop],
    groups: dict[str, Group],
    complain: Complain,
) -> None:
    """Make a group, its members first; `above` are the groups that contain it."""
    table = tables[name]
    for called in table.hops:
        if called in (*above, name):
            if called == (*above, name)[0]:  # otherwise the circle begins further down, and is reported there
                circle = " -> ".join((*above, name, called))
                complain(("groups", called, "hops"), f"a group cannot be a member of itself: {circle}")
            return
        if called in tables and called not in groups and called not in hops:
            _link(called, (*above, name), tables, hops, groups, complain)
    known: Members = {**groups, **hops}
    if not all(called in known for called in table.hops):
        return
    problems = list(same_members([known[called] for called in table.hops]))
    for problem in problems:
        complain(("groups", name, "hops", problem.index), str(problem))
    if not problems:
        groups[name] = table.build(name, known)


def unfit(chain: Chain) -> Iterator[tuple[int | str, str]]:
    """Find why no request could ever use a chain as it is declared, and where: an index of its hops, or a key."""
    places = [tuple(hops_of((member,))) for member in chain.hops]
    numbered = list(enumerate(places))
    for (index, hops), (_, following) in combinations(numbered, 2) if chain.skip_dead else pairwise(numbered):
        for hop, after in product(hops, following):
            if why := hop.cannot_carry(after.address):
                yield index, why
                break
    if resolver := chain.resolver:
        yield from (("resolver", why) for hop in places[-1] if (why := hop.cannot_carry(resolver)))
    wanted = sum(isinstance(member, Group) for member in chain.hops)
    if chain.hedge is not None and not wanted:
        yield "hedge", "it needs a group: only there is a next member to try"
    fixed = {member.identity for member in chain.hops if isinstance(member, Hop)}
    free = {hop.identity for place in places for hop in place} - fixed
    if not chain.skip_dead and len(free) < wanted:
        yield "hops", f"its groups hold {wanted} places and have {len(free)} hops for them"
