"""Pipelining support: which hops are tested, with which targets, and which setting is safe for a chain."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.pipeline_check import Support
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline, PipelineText
from chainsocks.config.groups import Group
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.egress import Egress
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.findings import HopReport
from chainsocks.tools.probe.pipeline_support import check_hop, may_be_pipelining, reachable
from chainsocks.tools.probe.walk import walk
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.memory import MemoryNetwork, MemoryStream, WatchedNetwork
from tests.tools.probe.probing import probed_of

KEEPS, LOSES, UNKNOWN = Support
OFF, HOP, CHAIN = Pipeline
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=30)
PARIS, OSAKA, LIMA = map(make_hop, (1, 2, 3))
LOSES_OWN, LOSES_BEHIND = Trouble(State.METHOD_NEGOTIATION, Fault.LOSS), Trouble(State.REQUEST, Fault.LOSS)
MUTE = Trouble(State.METHOD_NEGOTIATION, Fault.MUTE)


class Shy(WatchedNetwork):
    """The network of a hop that does not connect to itself."""

    def __init__(self, network: MemoryNetwork, itself: Address) -> None:
        super().__init__(network)
        self.itself = itself
        self.asked: list[Address] = []

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> MemoryStream:
        self.asked.append(address)
        if address == self.itself:
            raise OSError(errno.ECONNREFUSED, "not to myself")
        return await super().open_tcp(address, egress)


async def support_of(network: MemoryNetwork, chain: Chain) -> tuple[list[HopReport], float]:
    """Walk, test all hops at the same time, and leave nothing open; return the reports and the seconds of the test."""
    dialer = dialer_of(ours := WatchedNetwork(network), TIMEOUTS)
    walked = await walk(way_of(chain), None, dialer)
    began = trio.current_time()
    found: dict[int, HopReport] = {}

    async def check(position: int) -> None:
        found[position] = HopReport(walked, position, support=await check_hop(walked, position, dialer))

    count = await reachable(walked, dialer)
    async with trio.open_nursery() as nursery:
        for position in range(1, count + 1):
            nursery.start_soon(check, position)
    assert ours.left_open == []
    return [found[position] for position in sorted(found)], trio.current_time() - began


def known(reports: Sequence[HopReport]) -> list[tuple[int, Support, Support]]:
    return [(one.position, one.support.own, one.support.behind) for one in reports if one.support]


FINE = [(1, KEEPS, KEEPS), (2, KEEPS, KEEPS), (3, KEEPS, KEEPS)]

CHAINS: dict[str, tuple[dict[str, Trouble], str, list[tuple[int, Support, Support]], float]] = {
    "fine": ({}, "off", FINE, 0),
    "fine as it is pipelined": ({}, "chain", FINE, 0),
    "one loses its own": ({"osaka": LOSES_OWN}, "off", [FINE[0], (2, LOSES, UNKNOWN), FINE[2]], 1.5),
    "one loses the rest": ({"osaka": LOSES_BEHIND}, "off", [FINE[0], (2, KEEPS, LOSES), FINE[2]], 1.5),
    "all lose something, and wait at the same time": (
        {"paris": LOSES_BEHIND, "osaka": LOSES_BEHIND, "lima": LOSES_OWN},
        "off",
        [(1, KEEPS, LOSES), (2, KEEPS, LOSES), (3, LOSES, UNKNOWN)],
        1.5,
    ),
    "it is pipelining that broke the walk": (
        {"osaka": LOSES_OWN},
        "chain",
        [FINE[0], (2, LOSES, UNKNOWN), FINE[2]],
        1.5,
    ),
    # The walk in order meets the silence, and so do two ways to lima before osaka is asked for itself.
    "it is not that": ({"lima": MUTE}, "chain", [FINE[0], FINE[1]], 4.5),
    "none behind a dead one": ({"osaka": Trouble(CONNECT, Fault.REFUSAL)}, "off", [(1, KEEPS, KEEPS)], 0),
}


@pytest.mark.parametrize(("troubles", "pipeline", "found", "seconds"), CHAINS.values(), ids=CHAINS)
async def test_a_chain(
    troubles: dict[str, Trouble],
    pipeline: PipelineText,
    found: list[tuple[int, Support, Support]],
    seconds: float,
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, troubles.get(hop.name))
    reports, took = await support_of(network, Chain(PARIS, OSAKA, LIMA, pipeline=pipeline))
    assert (known(reports), took) == (found, seconds)


async def test_a_walk_that_a_hop_broke_by_its_own_setting(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, LOSES_OWN if hop is OSAKA else None)
    reports, _ = await support_of(network, Chain(PARIS, replace(OSAKA, pipeline=HOP), LIMA))
    assert known(reports) == [FINE[0], (2, LOSES, UNKNOWN), FINE[2]]


@pytest.mark.parametrize("pipeline", ["off", "chain"])
async def test_the_limit_of_the_chain_holds(
    pipeline: PipelineText, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Also for the walk in order, which goes before where the chain is pipelined."""
    network = MemoryNetwork(nursery)
    add_hop(network, PARIS, LOSES_BEHIND)
    add_hop(network, OSAKA, MUTE)
    _, took = await support_of(network, Chain(PARIS, OSAKA, dial=1, pipeline=pipeline))
    assert took == (3 if pipeline == "off" else 4)


async def test_a_hop_that_refuses_itself_is_asked_for_the_previous_one_and_for_no_other(
    nursery: trio.Nursery,
) -> None:
    """It knows the previous hop already, and no earlier one."""
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA):
        add_hop(network, hop)
    shy = Shy(network, LIMA.address)
    add_hop(shy, LIMA)
    reports, _ = await support_of(network, Chain(PARIS, OSAKA, LIMA))
    assert known(reports) == FINE
    assert set(shy.asked) == {LIMA.address, OSAKA.address}


async def test_a_hop_that_refuses_all_is_not_known(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    shy = Shy(network, PARIS.address)
    add_hop(shy, PARIS)
    [report], _ = await support_of(network, Chain(PARIS))
    assert known([report]) == [(1, KEEPS, UNKNOWN)]
    assert report.support
    assert "connection refused (05)" in report.support.reason
    assert report.fit is CHAIN, "in the last place, where nothing comes behind"


async def test_a_hop_with_socks5_is_asked_for_first(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    shy = Shy(network, Address("192.0.2.1", 1))
    osaka = make_hop(2, HopProtocol.SOCKS4A)
    add_hop(shy, PARIS)
    add_hop(network, osaka)
    reports, _ = await support_of(network, Chain(PARIS, osaka))
    assert shy.asked[1:].count(PARIS.address) >= 3
    assert known(reports) == FINE[:2]


async def test_members_beside_the_walk_are_tested_in_their_places(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(Group(PARIS, OSAKA), LIMA, pipeline="chain")
    report = await probed_of(nursery, LOSES_OWN, chain, pipelining=True)
    assert known(report.hops) == FINE[:2]
    [_, _, osaka] = report.all_hops
    assert osaka.support
    assert (osaka.hop.name, osaka.support.own, osaka.is_last) == ("osaka", LOSES, False)


async def test_members_that_were_not_reached_are_not_tested(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dead = Trouble(CONNECT, Fault.REFUSAL)
    chain = Chain(PARIS, Group(OSAKA, LIMA))
    report = await probed_of(nursery, {"osaka": dead, "lima": dead}, chain, pipelining=True)
    assert known(report.all_hops) == FINE[:1]


async def test_without_the_option_nothing_is_tested(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    assert known((await probed_of(nursery)).all_hops) == []


@pytest.mark.parametrize(
    ("trouble", "pipeline", "may_be"),
    [
        (None, "chain", False),
        (MUTE, "off", False),
        (MUTE, "hop", True),
        (LOSES_OWN, "hop", True),
        (Trouble(CONNECT, Fault.REFUSAL), "chain", False),
    ],
)
async def test_a_walk_that_pipelining_may_have_broken(
    trouble: Trouble | None, pipeline: PipelineText, autojump_clock: MockClock, nursery: trio.Nursery, *, may_be: bool
) -> None:
    report = await probed_of(nursery, trouble, Chain(PARIS, OSAKA, LIMA, pipeline=pipeline))
    assert may_be_pipelining(report.walk) == may_be


async def test_hops_behind_the_one_that_failed_have_not_broken_the_walk(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    report = await probed_of(nursery, MUTE, Chain(PARIS, OSAKA, replace(LIMA, pipeline=CHAIN)))
    assert not may_be_pipelining(report.walk)
