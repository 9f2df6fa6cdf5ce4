"""What follows from what was found out: what a hop loses by its setting, and which setting is safe for a chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.pipeline_check import Finding, Support
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.tools.probe.findings import ChainSetting, HopReport, Loss, chain_setting
from chainsocks.tools.probe.walk import Walk
from tests.hops import Fault, Trouble, make_hop, way_of
from tests.tools.probe.probing import probed_of

KEEPS, LOSES, UNKNOWN = Support
OFF, HOP, CHAIN = Pipeline
PARIS, OSAKA, LIMA = map(make_hop, (1, 2, 3))

SETTINGS: list[tuple[Finding, Pipeline | None, Pipeline, bool, Loss | None]] = [
    (Finding(KEEPS, KEEPS), CHAIN, OFF, False, None),
    (Finding(LOSES, UNKNOWN), None, OFF, False, None),
    (Finding(LOSES, UNKNOWN), None, HOP, True, Loss.OWN),
    (Finding(LOSES, UNKNOWN), OFF, CHAIN, False, None),
    (Finding(KEEPS, LOSES), None, HOP, False, None),
    (Finding(KEEPS, LOSES), None, CHAIN, False, Loss.BEHIND),
    (Finding(KEEPS, LOSES), None, CHAIN, True, None),
    (Finding(KEEPS, LOSES), CHAIN, OFF, True, Loss.BEHIND),
    (Finding(KEEPS, UNKNOWN), CHAIN, CHAIN, False, None),
    (Finding(UNKNOWN, UNKNOWN), CHAIN, CHAIN, False, None),
]


def report_of(hop: Hop, support: Finding | None, chains: Pipeline = OFF, *, is_last: bool = False) -> HopReport:
    """Report on the first hop of a chain, behind which there is another one unless it is the last."""
    chain = Chain(*((hop,) if is_last else (hop, LIMA)), pipeline=chains)
    return HopReport(Walk(way_of(chain), None, ()), 1, support=support)


@pytest.mark.parametrize(("support", "own", "chains", "is_last", "loss"), SETTINGS)
def test_what_is_lost_by_a_setting(
    support: Finding, own: Pipeline | None, chains: Pipeline, loss: Loss | None, *, is_last: bool
) -> None:
    """A hop's own setting has to hold at any position; a chain's only where the hop stands."""
    report = report_of(replace(PARIS, pipeline=own), support, chains, is_last=is_last)
    assert (report.is_last, report.loss) == (is_last, loss)


def test_gssapi_is_never_pipelined() -> None:
    assert report_of(make_hop(1, login=Gssapi()), Finding(UNKNOWN, UNKNOWN), CHAIN).setting is OFF


@pytest.mark.parametrize("dead", ["lima", None])
async def test_where_hops_may_be_left_out_the_last_of_a_walk_may_have_another_one_behind_it(
    dead: str | None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(PARIS, OSAKA, LIMA, skip_dead=True)
    troubles = {dead: Trouble(CONNECT, Fault.REFUSAL)} if dead else {}
    report = await probed_of(nursery, troubles, chain)
    last = {one.hop.name: one.is_last for one in report.hops}
    assert last == {"paris": False, "osaka": False} | ({} if dead else {"lima": True})


async def test_a_hop_that_may_also_stand_before_others_is_not_the_last(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(PARIS, Group(OSAKA, LIMA), LIMA, skip_dead=True)
    report = await probed_of(nursery, {"osaka": Trouble(CONNECT, Fault.REFUSAL)}, chain)
    assert {one.hop.name: one.is_last for one in report.hops} == {"paris": False, "lima": False}


ALL, SOME, NONE = Finding(KEEPS, KEEPS), Finding(KEEPS, LOSES), Finding(LOSES, UNKNOWN)
OWN_OFF = replace(OSAKA, pipeline=OFF)
GSSAPI = make_hop(2, login=Gssapi())

CHAIN_SETTINGS: dict[str, tuple[list[HopReport], ChainSetting | None]] = {
    "all support all": ([report_of(PARIS, ALL), report_of(LIMA, ALL)], ChainSetting(CHAIN, (), ())),
    "one supports some": (
        [report_of(PARIS, ALL), report_of(OSAKA, SOME), report_of(LIMA, ALL)],
        ChainSetting(HOP, ("osaka",), ()),
    ),
    "one supports nothing": (
        [report_of(PARIS, NONE), report_of(OSAKA, SOME), report_of(LIMA, ALL)],
        ChainSetting(OFF, ("paris",), ()),
    ),
    "one was not reached": ([report_of(PARIS, ALL), report_of(OSAKA, None)], ChainSetting(OFF, ("osaka",), ())),
    "nothing comes behind the last": (
        [report_of(PARIS, ALL), report_of(OSAKA, SOME, is_last=True)],
        ChainSetting(CHAIN, (), ()),
    ),
    "the last loses its own": (
        [report_of(PARIS, ALL), report_of(OSAKA, NONE, is_last=True)],
        ChainSetting(OFF, ("osaka",), ()),
    ),
    "one has its own": ([report_of(PARIS, ALL), report_of(OWN_OFF, NONE)], ChainSetting(CHAIN, (), ("osaka",))),
    "all have their own": ([report_of(OWN_OFF, NONE)], None),
    "a login by GSSAPI": (
        [report_of(PARIS, ALL), report_of(GSSAPI, Finding(UNKNOWN, UNKNOWN))],
        ChainSetting(CHAIN, (), ()),
    ),
    "twice": (
        [report_of(OSAKA, SOME), report_of(PARIS, ALL), report_of(OSAKA, SOME)],
        ChainSetting(HOP, ("osaka",), ()),
    ),
    "no hop": ([], None),
}


@pytest.mark.parametrize(("reports", "setting"), CHAIN_SETTINGS.values(), ids=CHAIN_SETTINGS)
def test_the_setting_that_is_safe_for_a_chain(reports: list[HopReport], setting: ChainSetting | None) -> None:
    assert chain_setting(reports) == setting
