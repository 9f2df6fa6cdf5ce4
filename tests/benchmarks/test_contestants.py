from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contestants import Contestant, hops_of_ours, loop_to_the_source, ours, peer
from benchmarks.loops import LOOPS, Loop
from benchmarks.peers import PEERS, Peer
from chainsocks.tools.bench.accounting import family
from chainsocks.tools.bench.bulk import measure_bulk
from tests.e2e.programs import missing

CONTESTANTS = {
    "peer": peer(PEERS[0]),
    "ours": ours("ours"),
    "hops": hops_of_ours("3 hops", 3),
    "C": loop_to_the_source(LOOPS[0]),
    "Python": loop_to_the_source(LOOPS[1]),
}


@pytest.mark.parametrize("name", CONTESTANTS)
def test_bulk_comes_through(tmp_path: Path, name: str) -> None:
    contestant = CONTESTANTS[name]
    if contestant.missing:
        missing(contestant.missing)
    with contestant.open(tmp_path) as opened:
        pids = opened.running.pids
        bulk = measure_bulk(opened.way, opened.target, streams=2, direction="down", seconds=0.05, pids=pids)
        assert bulk.cpu is not None
        assert bulk.cpu > 0, "it went through these processes"
    assert not any(map(family, (*pids, *opened.target.pids))), "nothing goes on"


def test_each_far_end_is_on_an_address_of_its_own(tmp_path: Path) -> None:
    contestant = ours("ours")
    hosts = set()
    for _ in range(2):
        with contestant.open(tmp_path) as opened:
            hosts.add(opened.target.echo.host)
    assert len(hosts) == 2


def test_a_chain_has_each_hop_once(tmp_path: Path) -> None:
    with hops_of_ours("3 hops", 3).open(tmp_path) as opened:
        assert len({hop.address for hop in opened.way.hops}) == 3
        assert len(set(opened.running.pids)) == 3


def test_workers_are_started(tmp_path: Path) -> None:
    with ours("2 workers", workers=2).open(tmp_path) as opened:
        [pid] = opened.running.pids
        assert len(family(pid)) == 3, "two, and their parent"


def test_what_is_missing_is_passed_on() -> None:
    lacking = Peer("x", "apt install x", lambda _: [], ["no-such-program"])
    assert peer(lacking).missing == lacking.missing != ""
    assert loop_to_the_source(Loop("x", lambda _: [], "no-such-compiler")).missing
    assert isinstance(peer(lacking), Contestant)


def test_a_peer_that_needs_more_descriptors_says_so(tmp_path: Path) -> None:
    with peer(replace(PEERS[0], descriptors=6)).open(tmp_path) as opened:
        assert opened.descriptors == 6
