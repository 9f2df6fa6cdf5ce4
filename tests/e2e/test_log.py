"""The log, where nothing reads it: the server goes on, and ends when it has to."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import targets
from tests.e2e.programs import PATIENCE, Process, SocketAddress, free_address
from tests.e2e.spawner import OWN
from tests.e2e.wire import GREETING, connect, connected, read, read_to_end, socks5_request

HOPS = 40
"""Hops of the chain: a session logs five lines or more for each."""

SESSIONS = 40
"""Sessions for each worker; they log three times the lines that a small pipe and the queue hold."""


def answer_as_all_hops(sock: socket.socket) -> None:
    """Answer what a chain of `HOPS` sends to its hops, one after the other, and then as an echo server."""
    request = socks5_request(("127.0.0.1", 1))
    for _ in range(HOPS):
        read(sock, len(GREETING))
        sock.sendall(b"\x05\x00")
        read(sock, len(request))
        sock.sendall(b"\x05\x00" + request[2:])
    targets.echo(sock)


@pytest.fixture(scope="module")
def hops() -> Iterator[SocketAddress]:
    with targets.serving(answer_as_all_hops) as address:
        yield address


def wait_until_it_listens(address: SocketAddress) -> None:
    """Connect until that succeeds; the program cannot say that it listens."""
    for _ in range(10_000):
        try:
            connect(address).close()
        except ConnectionRefusedError:
            os.sched_yield()
        else:
            return


@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_that_nothing_reads(tmp_path: Path, hops: SocketAddress, workers: int) -> None:
    """Sessions and open streams go on; a later reader learns how many lines it has missed; SIGTERM ends it."""
    address = free_address()
    names = [f"hop{number}" for number in range(HOPS)]
    lines = ["[server]", f'listen = ["{address[0]}:{address[1]}"]', f"workers = {workers}"]
    lines += ["[timeouts]", "grace = 0.5", "[hops]", *(f'{name} = "socks5://{hops[0]}:{hops[1]}"' for name in names)]
    lines += ["[chains.default]", f"hops = {names}"]
    config = tmp_path / "chainsocks.toml"
    config.write_text("\n".join(lines))
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    server = Process([OWN, "serve", "-v", "-c", config], os.environ, tmp_path, writing, writing)
    os.close(writing)

    def serve(sessions: int) -> None:
        for _ in range(sessions):
            with connected(address, hops) as sock:
                sock.sendall(b"data")
                assert read(sock, 4) == b"data"
            stream.sendall(b"more")
            assert read(stream, 4) == b"more"

    try:
        wait_until_it_listens(address)
        with connected(address, hops) as stream:
            serve(SESSIONS * workers)
            said = b""
            while not (dropped := re.search(rb"WARNING (?:worker \d: )?(\d+) lines of the log were dropped\n", said)):
                said += os.read(reading, 65536)
            assert int(dropped[1]) > 0
            serve(SESSIONS // 4)
            server.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionResetError):
                read_to_end(stream)
        assert server.wait(PATIENCE) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        os.close(reading)
