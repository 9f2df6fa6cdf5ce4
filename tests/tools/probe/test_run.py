"""The work of a probe: which hops it asks, how many at a time, what a group is, and whether all of it is fine."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import replace

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, Pipeline, PipelineText
from chainsocks.config.groups import Group
from chainsocks.config.models import Config, Timeouts
from chainsocks.egress import Egress
from chainsocks.network import Network
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe import run
from chainsocks.tools.probe.command import Options, targets
from chainsocks.tools.probe.findings import HopReport, ProbeReport, Standing
from chainsocks.tools.probe.report import show
from chainsocks.tools.probe.run import all_fine, inspect, probe_all
from chainsocks.tools.probe.walk import walk
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.memory import MemoryNetwork, MemoryStream, WatchedNetwork
from tests.tools.probe.probing import probed_of

PARIS, OSAKA, LIMA = map(make_hop, (1, 2, 3))
EXITS = Group(OSAKA, LIMA, name="exits")
GROUPED = Config(
    hops={hop.name: hop for hop in (PARIS, OSAKA, LIMA)},
    groups={"exits": EXITS},
    chains={"default": Chain(PARIS, EXITS)},
)


async def probed_all(config: Config, network: Network, *, pipelining: bool = False) -> list[ProbeReport]:
    """Probe what ``--all`` does."""
    todo = targets(config, Options(everything=True))
    return await probe_all(todo, dialer_of(network, Timeouts()), pipelining=pipelining)


class _OutOfReach(WatchedNetwork):
    """The network of a machine that cannot reach an address that others can."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        super().__init__(network)
        self.address = address

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> MemoryStream:
        if address == self.address:
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        return await super().open_tcp(address, egress)


@pytest.mark.parametrize("is_dead", [False, True])
async def test_a_hop_that_only_a_chain_can_reach(nursery: trio.Nursery, *, is_dead: bool) -> None:
    """It is no failure if it works there."""
    paris, osaka = make_hop(1), make_hop(2)
    network = MemoryNetwork(nursery)
    add_hop(network, paris)
    if not is_dead:
        add_hop(network, osaka)
    config = Config(hops={"paris": paris, "osaka": osaka}, chains={"default": Chain(paris, osaka)})
    found = await probed_all(config, _OutOfReach(network, osaka.address))
    assert [(one.title, one.fine) for one in found] == [
        ("hop paris", True),
        ("hop osaka", False),
        ("chain default", not is_dead),
    ]
    assert all_fine(found) == (not is_dead)


async def test_a_dead_hop_in_no_chain(nursery: trio.Nursery) -> None:
    paris, osaka = make_hop(1), make_hop(2)
    network = MemoryNetwork(nursery)
    add_hop(network, paris)
    config = Config(hops={"paris": paris, "osaka": osaka}, chains={"default": Chain(paris)})
    found = await probed_all(config, network)
    assert [one.fine for one in found] == [True, False, True]
    assert not all_fine(found)


@pytest.mark.parametrize(
    ("troubled", "fine", "group", "chain"),
    [
        ((), True, True, True),
        (("osaka",), True, True, True),
        (("osaka", "lima"), False, False, False),
        (("paris",), False, True, False),
    ],
)
async def test_members_of_groups(
    troubled: tuple[str, ...], nursery: trio.Nursery, *, fine: bool, group: bool, chain: bool
) -> None:
    """A member that is dead is no failure of the whole, as long as there is another one."""
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, Trouble(CONNECT, Fault.REFUSAL) if hop.name in troubled else None)
    found = await probed_all(GROUPED, network)
    assert [(one.title, one.fine) for one in found] == [
        *((f"hop {name}", name not in troubled) for name in ("paris", "osaka", "lima")),
        ("group exits", group),
        ("chain default", chain),
    ]
    assert [one.standing for one in found[3].members] == [
        Standing.FAILED if name in troubled else Standing.WORKS for name in ("osaka", "lima")
    ]
    assert all_fine(found) == fine


async def test_a_group_is_what_its_hops_were_found_to_be(nursery: trio.Nursery) -> None:
    """Each is walked to once, alone."""
    config = replace(GROUPED, chains={})
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, Trouble(State.METHOD_NEGOTIATION, Fault.GARBAGE))
    *alone, group = await probed_all(config, network)
    assert [address.host for _, address in network.connects] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert [member.report and member.report.walk.error for member in group.members] == [
        one.walk.error for one in alone[1:]
    ]
    output = io.StringIO()
    show(group, Console(file=output, width=1000))
    assert output.getvalue().splitlines()[2] == "here ──> ([✗ osaka] | [✗ lima])"


@pytest.mark.parametrize(
    ("own", "chains", "fine"),
    [(None, "off", True), (None, "chain", False), (Pipeline.OFF, "chain", True), (Pipeline.HOP, "off", False)],
)
async def test_a_setting_that_a_hop_does_not_support(
    own: Pipeline | None, chains: PipelineText, autojump_clock: MockClock, nursery: trio.Nursery, *, fine: bool
) -> None:
    """It is a failure, although another member works; but only where it was tested."""
    osaka = replace(OSAKA, pipeline=own)
    network = MemoryNetwork(nursery)
    for hop in (PARIS, osaka, LIMA):
        add_hop(network, hop, Trouble(State.METHOD_NEGOTIATION, Fault.LOSS) if hop is osaka else None)
    exits = Group(osaka, LIMA, name="exits")
    config = Config(
        hops={hop.name: hop for hop in (PARIS, osaka, LIMA)},
        groups={"exits": exits},
        chains={"default": Chain(exits, PARIS, pipeline=chains)},
    )
    assert all_fine(await probed_all(config, network))
    found = await probed_all(config, network, pipelining=True)
    assert all_fine(found) == fine
    assert [hop.hop.name for hop in found[3].all_hops if hop.support] == ["osaka", "lima"]
    assert [one.setting is None for one in found] == [True, True, True, True, False], "only chains have a key"
    assert found[3].overstated == (["osaka"] if own is Pipeline.HOP else [])
    output = io.StringIO()
    show(found[3], Console(file=output, width=1000))
    assert "PIPELINED" not in output.getvalue(), "that was said of the hop alone"


async def test_a_hop_that_separates_circuits_gets_a_login(nursery: trio.Nursery) -> None:
    tor = replace(PARIS, credentials=None, isolate=Isolate.SESSION)
    network = MemoryNetwork(nursery)
    add_hop(network, PARIS)  # which wants one
    config = Config(hops={"paris": tor}, chains={"default": Chain(tor)})
    _, chain = await probed_all(config, network)
    assert chain.fine
    assert network.logins[0][1] != b"bob"


async def test_a_member_that_separates_circuits_can_fail(nursery: trio.Nursery) -> None:
    """The login made for it does not make it another hop."""
    tor = replace(PARIS, credentials=None, isolate=Isolate.SESSION)
    network = MemoryNetwork(nursery)
    add_hop(network, PARIS, Trouble(State.METHOD_NEGOTIATION, Fault.GARBAGE))
    add_hop(network, OSAKA)
    group = Group(tor, OSAKA, name="exits")
    config = Config(hops={"paris": tor, "osaka": OSAKA}, groups={"exits": group})
    *_, exits = await probed_all(config, network)
    assert [one.standing for one in exits.members] == [Standing.FAILED, Standing.WORKS]


async def test_a_member_of_a_shorter_walk_has_answers_of_its_own(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """All walks fail, and in the one that shows it lima stands where osaka, which answers, stood in the first."""
    troubles = {"osaka": Trouble(State.REQUEST, Fault.REFUSAL), "lima": Trouble(CONNECT, Fault.REFUSAL)}
    chain = Chain(PARIS, OSAKA, LIMA, skip_dead=True)
    report = await probed_of(nursery, troubles, chain, Address("10.0.0.99", 80))
    _, osaka, lima = report.members
    assert osaka.report
    assert lima.report
    assert (osaka.report.position, lima.report.position) == (2, 2)
    assert osaka.report.abilities == report.hops[1].abilities != {}
    assert lima.report.abilities == {}


async def test_only_so_many_hops_are_asked_at_a_time(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, Trouble(State.REQUEST, Fault.LOSS))
    dialer = dialer_of(network, Timeouts(hop=1.5))
    walked = await walk(way_of(Chain(PARIS, OSAKA, LIMA)), None, dialer)
    reports = [HopReport(walked, position) for position in (1, 2, 3)]
    for at_once, seconds in ((3, 1.5), (2, 3), (1, 4.5)):
        monkeypatch.setattr(run, "AT_ONCE", at_once)
        began = trio.current_time()
        await inspect(reports, dialer, pipelining=True)
        assert trio.current_time() - began == seconds
