"""The log, where nothing reads it: the server goes on, and ends when it has to."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.programs import PATIENCE, Process, SocketAddress, free_address
from tests.e2e.spawner import OWN
from tests.e2e.wire import connect, connected, read, read_to_end

SESSIONS = 2000


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
def test_a_log_that_nothing_reads(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    """Sessions and open streams go on; a later reader learns how many lines it has missed; SIGTERM ends it."""
    address = free_address()
    reading, writing = os.pipe()
    config = tmp_path / "chainsocks.toml"
    config.write_text(
        f'[server]\nlisten = ["{address[0]}:{address[1]}"]\nworkers = {workers}\n[timeouts]\ngrace = 0.5\n'
    )
    server = Process([OWN, "serve", "-v", "-c", config], os.environ, tmp_path, writing, writing)
    os.close(writing)

    def serve(sessions: int) -> None:
        for _ in range(sessions):
            with connected(address, echo) as sock:
                sock.sendall(b"data")
                assert read(sock, 4) == b"data"
            stream.sendall(b"more")
            assert read(stream, 4) == b"more"

    try:
        wait_until_it_listens(address)
        with connected(address, echo) as stream:
            serve(SESSIONS * workers)  # each logs three lines
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
