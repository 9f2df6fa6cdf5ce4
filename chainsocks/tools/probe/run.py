"""The work of a probe: walk along the chains, ask the hops that answer, and decide whether all of it is fine.

1. A chain is walked until the state of each member of its groups is known. It is fine if one walk succeeds.
2. Each hop that answers is asked what else it can do, at most `AT_ONCE` hops at a time: each costs a few connections
   through all hops before it.
3. A group is not walked: its state is that of its hops, which were each probed alone.
4. A hop that cannot be reached directly is no failure if a chain reaches it or works without it.
5. A hop that separates circuits (`isolate`) gets a login of its own, as from a server.
6. Where a chain has warm ways, a request along the same route is also timed on a way that is ready.
7. A hop with a higher `pipeline` setting than it supports is a failure, even if other members work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from chainsocks.chain.dialer import Dialer
from chainsocks.chain.trip import OnStep
from chainsocks.client.isolation import own_circuit
from chainsocks.config.chains import Chain, Route
from chainsocks.protocol.address import Address
from chainsocks.tools.probe.findings import HopReport, Kind, Member, ProbeReport, Standing
from chainsocks.tools.probe.members import explore, members_of, weigh
from chainsocks.tools.probe.pipeline_support import check_hop, reachable
from chainsocks.tools.probe.questions import ask_hop
from chainsocks.tools.probe.walk import Walk, ask_on_warm_way, walk_repeatedly

__all__ = ["AT_ONCE", "Target", "all_fine", "inspect", "probe_all"]

AT_ONCE = 8
"""Hops that are asked at the same time."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Target:
    """What to probe."""

    kind: Kind
    name: str
    chain: Chain
    destination: Address | None


async def probe_all(
    targets: Sequence[Target],
    dialer: Dialer,
    *,
    count: int = 1,
    pipelining: bool = False,
    show_one: Callable[[ProbeReport], None] = lambda report: None,
    on_step: OnStep | None = None,
) -> list[ProbeReport]:
    """Probe one target after the other, with `count` walks each, and call `show_one` with each report.

    `pipelining` says whether to test pipelining support as well.
    """
    reports: list[ProbeReport] = []
    for target in targets:
        if target.kind is Kind.GROUP:
            reports.append(_sum_up(target, {one.name: one for one in reports if one.kind is Kind.HOP}))
        else:
            reports.append(await _probe_one(target, dialer, count, on_step, pipelining=pipelining))
        show_one(reports[-1])
    return reports


async def _probe_one(
    target: Target, dialer: Dialer, count: int, on_step: OnStep | None, *, pipelining: bool
) -> ProbeReport:
    async def walk_along(route: Route) -> Walk:
        return await walk_repeatedly(count, route, target.destination, dialer, on_step)

    walk, members = await explore(own_circuit(target.chain, target.destination), walk_along)
    hops = [HopReport(walk, position) for position in range(1, len(walk.route.hops) + 1)]
    warm = None
    if target.chain.warm and target.destination and walk.error is None:
        warm = await ask_on_warm_way(count, walk.route, target.destination, dialer)
    report = ProbeReport(target.kind, target.name, walk, hops, members, 1 if walk.error else count, pipelining, warm)
    return _filled(report, await inspect(report.all_hops, dialer, pipelining=pipelining))


def _filled(report: ProbeReport, inspected: Sequence[HopReport]) -> ProbeReport:
    """Put what the hops have answered into the report: `inspected` takes the place of its `all_hops`."""
    hops, others = inspected[: len(report.hops)], iter(inspected[len(report.hops) :])

    def filled(member: Member) -> Member:
        if member.report is None:
            return member
        position = member.position_in(report.walk.route)
        if not position:
            return replace(member, report=next(others))
        asked = hops[position - 1]
        return replace(member, report=replace(member.report, abilities=asked.abilities, support=asked.support))

    return replace(report, hops=hops, members=tuple(map(filled, report.members)))


async def inspect(reports: Sequence[HopReport], dialer: Dialer, *, pipelining: bool) -> list[HopReport]:
    """Ask the hops that were reached what they can do, and return the reports with their answers."""
    walks = list({id(one.walk): one.walk for one in reports}.values())

    async def reach(walk: Walk) -> int:
        return await reachable(walk, dialer) if pipelining else 0

    tested = dict(zip(map(id, walks), await _in_parallel(reach, walks), strict=True))

    async def ask(report: HopReport) -> HopReport:
        walk, position = report.walk, report.position
        if position <= walk.answered:
            report = replace(report, abilities=await ask_hop(walk, position, dialer))
        if position <= tested[id(walk)]:
            report = replace(report, support=await check_hop(walk, position, dialer))
        return report

    return await _in_parallel(ask, reports)


async def _in_parallel(work: Callable[[ItemT], Awaitable[ResultT]], items: Sequence[ItemT]) -> list[ResultT]:
    """Do `work` for all items, `AT_ONCE` at a time, and return the results in the order of the items."""
    results: dict[int, ResultT] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def run(index: int, item: ItemT) -> None:
        async with limiter:
            results[index] = await work(item)

    async with trio.open_nursery() as nursery:
        for index, item in enumerate(items):
            nursery.start_soon(run, index, item)
    return [results[index] for index in range(len(items))]


def _sum_up(target: Target, alone: Mapping[str, ProbeReport]) -> ProbeReport:
    """Make the report on a group of the reports on its hops."""
    members, reports = list(members_of(target.chain)), []
    for member in members:
        [report] = alone[member.hop.name].hops
        reports.append(replace(report, walk=replace(report.walk, route=Route(target.chain, (member.hop,)))))
    shown = next((report for report in reports if report.walk.error is None), reports[0])
    reported = [replace(member, report=report) for member, report in zip(members, reports, strict=True)]
    first = alone[shown.hop.name]
    return ProbeReport(target.kind, target.name, shown.walk, (shown,), weigh(reported), first.count, first.pipelining)


def all_fine(reports: Sequence[ProbeReport]) -> bool:
    """Tell whether every chain has a way through, and every hop works alone or is not needed by a chain that works.

    So does every group, by one of its members. And no hop loses what its `pipeline` setting says it supports.
    """
    if any(report.overstated for report in reports):
        return False
    working, spared = set(), set()
    for report in reports:
        if report.fine:
            working |= {hop.name for hop in report.walk.route.hops}
            working |= {one.hop.name for one in report.members if one.standing is Standing.WORKS}
            spared |= {one.hop.name for one in report.members if report.kind is Kind.CHAIN}
    return all(report.fine or _is_no_loss(report, working, working | spared) for report in reports)


def _is_no_loss(report: ProbeReport, working: Collection[str], known: Collection[str]) -> bool:
    """Tell whether what cannot be reached directly works in a chain, or a chain works without it."""
    if report.kind is Kind.HOP:
        return report.name in known
    return report.kind is Kind.GROUP and any(one.hop.name in working for one in report.members)
