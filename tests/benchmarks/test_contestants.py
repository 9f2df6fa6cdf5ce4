"""Contestants: servers, chains and bare loops that run, and that end."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contestants import LOOPS, Contestant, Loop, front, held, loop, open_loop, ours, peer
from benchmarks.cores import CannotLimit
from benchmarks.peers import PEERS, Peer
from chainsocks.config.passwords import hash_password
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import UsernamePassword
from chainsocks.tools.bench.accounting import family
from chainsocks.tools.bench.bulk import measure_bulk
from tests.e2e import targets
from tests.e2e.programs import PATIENCE, SocketAddress, missing
from tests.e2e.targets import MIB, exchange, serving

pytestmark = pytest.mark.measure

USER = f"[[users]]\nname = 'carol'\npassword_hash = '{hash_password(b'secret')}'"

CONTESTANTS = {
    "front": front("front", hops=2),
    "login": front("login", USER, credentials=UsernamePassword("carol", "secret")),
    "peer": peer(PEERS[0]),
    "ours": ours("ours"),
    "hops": ours("3 hops", hops=3),
    "C": loop(LOOPS[0]),
    "Python": loop(LOOPS[1]),
}


@pytest.mark.parametrize("name", CONTESTANTS)
def test_bulk_comes_through(tmp_path: Path, name: str) -> None:
    contestant = CONTESTANTS[name]
    if contestant.missing:
        missing(contestant.missing)
    with contestant.open(tmp_path) as opened:
        way, pids = opened.subject.way, opened.subject.pids
        bulk = measure_bulk(way, opened.target, streams=2, direction="down", seconds=0.05, pids=pids)
        assert bulk.cost.relay is not None
        assert bulk.cost.relay > 0, "it went through these processes"
    assert not any(map(family, (*pids, *opened.target.pids))), "nothing goes on"


def test_each_far_end_is_on_an_address_of_its_own(tmp_path: Path) -> None:
    contestant = ours("ours")
    hosts = set()
    for _ in range(2):
        with contestant.open(tmp_path) as opened:
            hosts.add(opened.target.echo.host)
    assert len(hosts) == 2


def test_a_chain_has_each_hop_once(tmp_path: Path) -> None:
    with ours("3 hops", hops=3).open(tmp_path) as opened:
        assert len({hop.address for hop in opened.subject.way.hops}) == 3
        assert len(set(opened.subject.pids)) == 3


def test_the_hops_behind_a_front_server_do_not_count(tmp_path: Path) -> None:
    with front("front", hops=2).open(tmp_path) as opened:
        assert len(opened.subject.way.hops) == len(opened.subject.pids) == 1
        [config] = tmp_path.joinpath(PEERS[0].name).glob("*.toml")
        assert 'default = ["hop1", "hop2"]' in config.read_text().replace("'", '"')


def test_a_server_is_held_to_one_core(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    if len(before) == 1:
        with pytest.raises(CannotLimit), held(ours("ours")).open(tmp_path):
            pass
        return
    with held(ours("ours")).open(tmp_path) as opened:
        [pid] = opened.running.pids
        assert os.sched_getaffinity(pid) == {min(before)}
        assert os.sched_getaffinity(0) == before
        assert opened.folder == tmp_path


def test_workers_are_started(tmp_path: Path) -> None:
    with ours("2 workers", workers=2).open(tmp_path) as opened:
        [pid] = opened.running.pids
        assert len(family(pid)) == 3, "two, and their parent"


def test_what_is_missing_is_passed_on() -> None:
    lacking = Peer("x", "apt install x", lambda _: [], ["no-such-program"])
    assert peer(lacking).missing == held(peer(lacking)).missing == lacking.missing != ""
    assert front("x", hops=1, server=lacking).missing == lacking.missing
    assert not front("x", server=lacking).missing
    assert loop(Loop("x", lambda _: [], "no-such-compiler")).missing
    assert isinstance(peer(lacking), Contestant)


def test_a_peer_that_needs_more_descriptors_says_so(tmp_path: Path) -> None:
    with peer(replace(PEERS[0], descriptors=6)).open(tmp_path) as opened:
        assert opened.descriptors == 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loops")


@pytest.fixture(scope="module")
def source_and_sink() -> Iterator[SocketAddress]:
    with serving(targets.source_and_sink) as address:
        yield address


@pytest.fixture(scope="module", params=LOOPS, ids=lambda kind: kind.name)
def running_loop(
    request: pytest.FixtureRequest, folder: Path, source_and_sink: SocketAddress
) -> Iterator[SocketAddress]:
    """The address of a loop to `source_and_sink`."""
    kind: Loop = request.param
    if kind.missing:
        missing(kind.missing)
    with open_loop(kind, Address(*source_and_sink), folder) as running:
        yield running.address.host, running.address.port


def test_bytes_go_both_ways_at_once(running_loop: SocketAddress) -> None:
    with socket.create_connection(running_loop, PATIENCE) as sock:
        exchange(sock, 32 * MIB)


def test_several_connections_do_not_mix(running_loop: SocketAddress) -> None:
    def one(_: int) -> None:
        with socket.create_connection(running_loop, PATIENCE) as sock:
            exchange(sock, 8 * MIB)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(12)))


def test_an_end_is_passed_on_and_the_next_connection_works(running_loop: SocketAddress) -> None:
    with socket.create_connection(running_loop, PATIENCE) as sock:
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(1024):
            answer += data
        assert len(answer) == 64, "the digests of nothing, since nothing was asked for, and then the end"
    with socket.create_connection(running_loop, PATIENCE) as sock:
        exchange(sock, 1)


def test_a_client_that_is_gone_is_no_harm(running_loop: SocketAddress) -> None:
    with socket.create_connection(running_loop, PATIENCE) as sock:
        sock.sendall((64 * MIB).to_bytes(8, "big"))
        sock.recv(1)
    with socket.create_connection(running_loop, PATIENCE) as sock:
        exchange(sock, MIB)


def test_connections_are_let_go(folder: Path, source_and_sink: SocketAddress) -> None:
    for kind in LOOPS:
        if kind.missing:
            missing(kind.missing)
        with open_loop(kind, Address(*source_and_sink), folder) as running:
            descriptors = Path(f"/proc/{running.pids[0]}/fd")

            def one(_: int, loop: Address = running.address) -> None:
                with socket.create_connection((loop.host, loop.port), PATIENCE) as sock:
                    exchange(sock, 1)

            one(0)
            before = len(list(descriptors.iterdir()))
            for number in range(20):
                one(number)
            one(0)
            assert len(list(descriptors.iterdir())) <= before + 12, "those of the last two may still be closing"
