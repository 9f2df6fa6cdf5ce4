"""What the service manager is told, on a socket of the test's own."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainsocks.server.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The socket of a service manager, and its address as the environment has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}"
        sock.bind(name.replace("@", "\0", 1))
        sock.settimeout(0)
        yield sock, name


def lines(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


def test_the_life_of_a_server(told: tuple[socket.socket, str]) -> None:
    sock, name = told
    manager = ServiceManager(name, 20)
    manager.is_ready("0 sessions")
    assert lines(sock) == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=0 sessions"]
    for status, more in (("0 sessions", []), ("1 session", ["STATUS=1 session"]), ("1 session", [])):
        manager.is_alive(status)
        assert lines(sock) == ["WATCHDOG=1", *more]
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    manager.is_reloading()
    [reloading, at] = lines(sock)
    assert reloading == "RELOADING=1"
    key, _, microseconds = at.partition("=")
    assert key == "MONOTONIC_USEC"
    assert int(before * 1e6) <= int(microseconds) <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    manager.is_stopping(10)
    assert lines(sock) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=15000000"]
    manager.is_alive("1 session")
    assert lines(sock) == ["WATCHDOG=1", "STATUS=stopping: 1 session"]


def test_without_a_watchdog_only_a_new_status_is_told(told: tuple[socket.socket, str]) -> None:
    sock, name = told
    manager = ServiceManager(name)
    manager.is_alive("1 session")
    assert lines(sock) == ["STATUS=1 session"]
    manager.is_alive("1 session")
    manager.is_stopping(math.inf)
    assert lines(sock) == ["STOPPING=1"]
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_a_manager_that_does_not_read_or_has_gone_holds_nothing_up(told: tuple[socket.socket, str]) -> None:
    sock, name = told
    manager = ServiceManager(name, 20)
    for number in range(10_000):
        manager.is_alive(str(number))
    sock.close()
    manager.is_alive("gone")


ME = str(os.getpid())


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, math.inf),
        ({"NOTIFY_SOCKET": "/run/s"}, 5),
        ({"NOTIFY_SOCKET": "@s", "WATCHDOG_USEC": "2000000"}, 0.5),
        ({"NOTIFY_SOCKET": "@s", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": ME}, 0.5),
        ({"NOTIFY_SOCKET": "@s", "WATCHDOG_USEC": "600000000"}, 5),
        ({"NOTIFY_SOCKET": "@s", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, 5),
        ({"NOTIFY_SOCKET": "@s", "WATCHDOG_USEC": "0"}, 5),
        ({"NOTIFY_SOCKET": "@s", "WATCHDOG_USEC": "soon"}, 5),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, math.inf),
        ({"WATCHDOG_USEC": "2000000"}, math.inf),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_environment_says(environment: dict[str, str], interval: float) -> None:
    environment["HOME"] = "/root"
    assert ServiceManager.of_environment(environment).interval == interval
    assert environment == {"HOME": "/root"}, "it is not for other programs"
