"""What the hops of a walk keep: who is asked, for whom, for how long, and what is held against what is written."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.pipeline_check import Finding, Support
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain, Group
from chainsocks.config.hops import Hop, Pipeline
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe import keeping
from chainsocks.tools.probe.keeping import Fitness, Kept, find_fitness, may_be_pipelining
from chainsocks.tools.probe.walk import walk
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.memory import MemoryNetwork, MemoryStream, WatchedNetwork
from tests.tools.probe.probing import PIPELINE, probed_of

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

    async def open_tcp(self, address: Address, source: Address | None = None) -> MemoryStream:
        self.asked.append(address)
        if address == self.itself:
            raise OSError(errno.ECONNREFUSED, "not to myself")
        return await super().open_tcp(address, source)


async def fitness_of(network: MemoryNetwork, chain: Chain) -> tuple[Fitness, float]:
    """Walk, ask, and leave nothing open; return what was found as well as how long the asking took."""
    ours = WatchedNetwork(network)
    walked = await walk(way_of(chain), None, TIMEOUTS, ours)
    began = trio.current_time()
    found = await find_fitness(walked, (), TIMEOUTS, ours)
    assert ours.left_open == []
    return found, trio.current_time() - began


def kept(fitness: Fitness) -> list[tuple[int, Support, Support]]:
    return [(position, one.finding.own, one.finding.behind) for position, one in fitness.hops.items()]


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
    "nobody beyond a dead one": ({"osaka": Trouble(CONNECT, Fault.REFUSAL)}, "off", [(1, KEEPS, KEEPS)], 0),
}


@pytest.mark.parametrize(("troubles", "pipeline", "found", "seconds"), CHAINS.values(), ids=CHAINS)
async def test_a_chain(
    troubles: dict[str, Trouble],
    pipeline: str,
    found: list[tuple[int, Support, Support]],
    seconds: float,
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, troubles.get(hop.name))
    fitness, took = await fitness_of(network, Chain(PARIS, OSAKA, LIMA, pipeline=pipeline))
    assert (kept(fitness), took) == (found, seconds)


async def test_not_too_many_are_asked_at_a_time(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    monkeypatch.setattr(keeping, "AT_ONCE", 1)
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, LOSES_BEHIND)
    _, took = await fitness_of(network, Chain(PARIS, OSAKA, LIMA))
    assert took == 4.5


async def test_a_walk_that_a_hop_broke_by_its_own_setting(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA, LIMA):
        add_hop(network, hop, LOSES_OWN if hop is OSAKA else None)
    fitness, _ = await fitness_of(network, Chain(PARIS, replace(OSAKA, pipeline=HOP), LIMA))
    assert kept(fitness) == [FINE[0], (2, LOSES, UNKNOWN), FINE[2]]


@pytest.mark.parametrize("pipeline", ["off", "chain"])
async def test_the_limit_of_the_chain_holds(pipeline: str, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Also for the walk in order, which goes before where the chain is pipelined."""
    network = MemoryNetwork(nursery)
    add_hop(network, PARIS, LOSES_BEHIND)
    add_hop(network, OSAKA, MUTE)
    _, took = await fitness_of(network, Chain(PARIS, OSAKA, dial=1, pipeline=pipeline))
    assert took == (3 if pipeline == "off" else 4)


async def test_a_hop_that_refuses_itself_is_asked_for_the_one_before_and_for_nobody_else(
    nursery: trio.Nursery,
) -> None:
    """It knows that one already; of the first one it has never heard."""
    network = MemoryNetwork(nursery)
    for hop in (PARIS, OSAKA):
        add_hop(network, hop)
    shy = Shy(network, LIMA.address)
    add_hop(shy, LIMA)
    fitness, _ = await fitness_of(network, Chain(PARIS, OSAKA, LIMA))
    assert kept(fitness) == FINE
    assert set(shy.asked) == {LIMA.address, OSAKA.address}


async def test_a_hop_that_refuses_all_is_not_known(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    shy = Shy(network, PARIS.address)
    add_hop(shy, PARIS)
    fitness, _ = await fitness_of(network, Chain(PARIS))
    assert kept(fitness) == [(1, KEEPS, UNKNOWN)]
    assert "connection refused (05)" in fitness.hops[1].finding.reason
    assert fitness.hops[1].fit is CHAIN, "in the last place, where nothing comes behind"


async def test_whoever_speaks_socks5_is_asked_for_first(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    shy = Shy(network, Address("192.0.2.1", 1))
    osaka = make_hop(2, HopProtocol.SOCKS4A)
    add_hop(shy, PARIS)
    add_hop(network, osaka)
    fitness, _ = await fitness_of(network, Chain(PARIS, osaka))
    assert shy.asked[1:].count(PARIS.address) >= 3
    assert kept(fitness) == FINE[:2]


async def test_members_beside_the_walk_are_asked_in_their_places(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(Group(PARIS, OSAKA), LIMA, pipeline="chain")
    probed = await probed_of(nursery, LOSES_OWN, chain, options=PIPELINE)
    assert probed.fitness
    assert kept(probed.fitness) == FINE[:2]
    [(seat, osaka)] = probed.fitness.members.items()
    assert (seat.hop.name, osaka.finding.own, osaka.is_last) == ("osaka", LOSES, False)


async def test_members_that_were_not_reached_are_not_asked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dead = Trouble(CONNECT, Fault.REFUSAL)
    probed = await probed_of(nursery, {"osaka": dead, "lima": dead}, Chain(PARIS, Group(OSAKA, LIMA)), options=PIPELINE)
    assert probed.fitness
    assert (kept(probed.fitness), probed.fitness.members) == (FINE[:1], {})


async def test_what_is_not_wanted_is_not_asked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    assert (await probed_of(nursery)).fitness is None


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
    trouble: Trouble | None, pipeline: str, autojump_clock: MockClock, nursery: trio.Nursery, *, may_be: bool
) -> None:
    probed = await probed_of(nursery, trouble, Chain(PARIS, OSAKA, LIMA, pipeline=pipeline))
    assert may_be_pipelining(probed.walked) == may_be


async def test_hops_behind_the_one_that_failed_have_not_broken_the_walk(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    probed = await probed_of(nursery, MUTE, Chain(PARIS, OSAKA, replace(LIMA, pipeline=CHAIN)))
    assert not may_be_pipelining(probed.walked)


OWN_LOST, REST_LOST = "its own messages where they come at once", "what comes behind its request"

WRITTEN: list[tuple[Finding, Pipeline | None, Pipeline, bool, str | None]] = [
    (Finding(KEEPS, KEEPS), CHAIN, OFF, False, None),
    (Finding(LOSES, UNKNOWN), None, OFF, False, None),
    (Finding(LOSES, UNKNOWN), None, HOP, True, OWN_LOST),
    (Finding(LOSES, UNKNOWN), OFF, CHAIN, False, None),
    (Finding(KEEPS, LOSES), None, HOP, False, None),
    (Finding(KEEPS, LOSES), None, CHAIN, False, REST_LOST),
    (Finding(KEEPS, LOSES), None, CHAIN, True, None),
    (Finding(KEEPS, LOSES), CHAIN, OFF, True, REST_LOST),
    (Finding(KEEPS, UNKNOWN), CHAIN, CHAIN, False, None),
    (Finding(UNKNOWN, UNKNOWN), CHAIN, CHAIN, False, None),
]


@pytest.mark.parametrize(("finding", "own", "chains", "is_last", "lost"), WRITTEN)
def test_what_is_written_in_vain(
    finding: Finding, own: Pipeline | None, chains: Pipeline, lost: str | None, *, is_last: bool
) -> None:
    """A hop's own setting says it of the hop, wherever that stands; a chain's says it of places."""
    hop: Hop = replace(PARIS, pipeline=own)
    assert Kept(hop, finding, hop.pipelined(chains), is_last).lost == lost


async def test_gssapi_is_never_pipelined(nursery: trio.Nursery) -> None:
    hop = make_hop(1, login=Gssapi())
    assert Kept(hop, Finding(UNKNOWN, UNKNOWN), hop.pipelined(CHAIN), is_last=False).written is OFF


@pytest.mark.parametrize("dead", ["lima", None])
async def test_where_hops_may_be_left_out_the_last_of_a_walk_may_yet_have_somebody_behind_it(
    dead: str | None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(PARIS, OSAKA, LIMA, skip_dead=True)
    troubles = {dead: Trouble(CONNECT, Fault.REFUSAL)} if dead else {}
    probed = await probed_of(nursery, troubles, chain, options=PIPELINE)
    assert probed.fitness
    last = {one.hop.name: one.is_last for one in probed.fitness.hops.values()}
    assert last == {"paris": False, "osaka": False} | ({} if dead else {"lima": True})


async def test_a_hop_that_may_also_stand_before_others_is_not_the_last(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(PARIS, Group(OSAKA, LIMA), LIMA, skip_dead=True)
    probed = await probed_of(nursery, {"osaka": Trouble(CONNECT, Fault.REFUSAL)}, chain, options=PIPELINE)
    assert probed.fitness
    assert {one.hop.name: one.is_last for one in probed.fitness.hops.values()} == {"paris": False, "lima": False}
