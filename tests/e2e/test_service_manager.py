"""The server under a service manager: a socket of the test's own, as systemd would name it."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.background import wait_until
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import connected

WATCHDOG = 0.4
"""Seconds of a period."""


class Manager:
    """A service manager; it remembers what it has been told."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(PATIENCE)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}
        self.heard: list[str] = []

    def wait_for(self, pattern: str) -> str:
        """Wait for a message that matches, and return it; those before it are heard."""
        while True:
            self.heard.append(self.sock.recv(4096).decode())
            if re.search(pattern, self.heard[-1]):
                return self.heard[-1]

    def is_silent(self) -> bool:
        """Whether nothing comes for several periods of the watchdog, after what is there already."""
        self.sock.settimeout(0)
        try:
            while True:
                self.sock.recv(4096)
        except BlockingIOError:
            pass
        self.sock.settimeout(4 * WATCHDOG)
        try:
            self.sock.recv(4096)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        return False


@contextmanager
def managed(folder: Path, workers: int) -> Iterator[tuple[Chainsocks, Manager]]:
    manager = Manager(folder / "notify")
    with manager.sock, chainsocks(workers=workers, environment=manager.environment) as server:
        yield server, manager


@pytest.mark.parametrize("workers", [1, 2])
def test_the_life_of_a_server(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    with managed(tmp_path, workers) as (server, manager):
        assert f"MAINPID={server.process.pid}" in manager.wait_for("^READY=1")
        assert not manager.heard[:-1], "it is the first thing that is said"
        manager.wait_for("^WATCHDOG=1$")
        with connected(server.address, echo):
            manager.wait_for("(?m)^STATUS=1 session$")
        manager.wait_for("(?m)^STATUS=0 sessions$")
        server.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in manager.wait_for("^RELOADING=1")
        manager.wait_for("^READY=1")
        manager.wait_for("^WATCHDOG=1")
        server.process.send_signal(signal.SIGTERM)
        manager.wait_for("^STOPPING=1")
        server.ended()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_event_loop_that_does_not_move_is_noticed(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    with managed(tmp_path, workers) as (server, manager):
        manager.wait_for("^READY=1")
        manager.wait_for("^WATCHDOG=1")
        pid = server.process.pid
        if workers > 1:
            pid = int(server.wait_for(r" worker 2 \(pid (\d+)\) has started$")[1])
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            manager.is_silent()  # what was on its way
            assert manager.is_silent()
        finally:
            os.kill(pid, signal.SIGCONT)
        manager.wait_for("^WATCHDOG=1")
