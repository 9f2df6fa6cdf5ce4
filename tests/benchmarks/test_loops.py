from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.loops import LOOPS, Loop, open_loop
from chainsocks.protocol.address import Address
from tests.e2e import targets
from tests.e2e.programs import PATIENCE, SocketAddress, missing
from tests.e2e.targets import MIB, exchange, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loops")


@pytest.fixture(scope="module")
def source_and_sink() -> Iterator[SocketAddress]:
    with serving(targets.source_and_sink) as address:
        yield address


@pytest.fixture(scope="module", params=LOOPS, ids=lambda loop: loop.name)
def loop(request: pytest.FixtureRequest, folder: Path, source_and_sink: SocketAddress) -> Iterator[SocketAddress]:
    """The address of a loop to `source_and_sink`."""
    kind: Loop = request.param
    if kind.missing:
        missing(kind.missing)
    with open_loop(kind, Address(*source_and_sink), folder) as running:
        yield running.address.host, running.address.port


def test_bytes_go_both_ways_at_once(loop: SocketAddress) -> None:
    with socket.create_connection(loop, PATIENCE) as sock:
        exchange(sock, 32 * MIB)


def test_several_connections_do_not_mix(loop: SocketAddress) -> None:
    def one(_: int) -> None:
        with socket.create_connection(loop, PATIENCE) as sock:
            exchange(sock, 8 * MIB)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(12)))


def test_an_end_is_passed_on_and_the_next_connection_works(loop: SocketAddress) -> None:
    with socket.create_connection(loop, PATIENCE) as sock:
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(1024):
            answer += data
        assert len(answer) == 64, "the digests of nothing, since nothing was asked for, and then the end"
    with socket.create_connection(loop, PATIENCE) as sock:
        exchange(sock, 1)


def test_a_client_that_is_gone_is_no_harm(loop: SocketAddress) -> None:
    with socket.create_connection(loop, PATIENCE) as sock:
        sock.sendall((64 * MIB).to_bytes(8, "big"))
        sock.recv(1)
    with socket.create_connection(loop, PATIENCE) as sock:
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


def test_a_missing_compiler_is_named() -> None:
    assert Loop("x", lambda _: [], "no-such-compiler").missing == "there is no no-such-compiler here"
    assert Loop("x", lambda _: []).missing == ""
