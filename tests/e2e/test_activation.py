"""The server started by a socket unit: it gets its listening sockets as systemd passes them."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import CHAINSOCKS
from tests.e2e.programs import Program, SocketAddress, clean_environment, free_address
from tests.e2e.wire import connected, read

HELPER = Path(__file__).parent / "pass_sockets.py"


@contextmanager
def activated(folder: Path, config: str, sockets: Mapping[str, str]) -> Iterator[Program]:
    """Start the server with a socket for each name and address."""
    (folder / "c.toml").write_text(config)
    command: list[str | Path] = [
        sys.executable,
        HELPER,
        json.dumps([*sockets.items()]),
        CHAINSOCKS,
        "serve",
        "-c",
        folder / "c.toml",
    ]
    program = Program(command, clean_environment(folder))
    try:
        yield program
    finally:
        program.stop()
        print(program.said)  # noqa: T201  (pytest shows it with the failure)


def talk(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    assert read(sock, 5) == b"hello"


@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_the_sockets_that_it_is_passed(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    address, own, unix = free_address(), free_address(), str(tmp_path / "s")
    names = {"web": f"{address[0]}:{address[1]}", "local": unix}
    head = f"[control]\nsocket = 'off'\n[server]\nworkers = {workers}\n"
    both = f"{head}listen = ['systemd:web', 'systemd:local', '{own[0]}:{own[1]}']\n"
    with activated(tmp_path, both, names) as server:
        server.wait_for(f"listening on {address[0]}:{address[1]}, unix:{unix}, {own[0]}:{own[1]}")
        with connected(address, echo) as first, connected(unix, echo) as second, connected(own, echo) as third:
            for sock in (first, second, third):
                talk(sock)
            for number, text in enumerate((f"{head}listen = ['systemd:local']\n", both), 1):
                (tmp_path / "c.toml").write_text(text)
                server.process.send_signal(signal.SIGHUP)
                server.wait_for("INFO reloaded", times=number)
            for sock in (first, second, third):
                talk(sock)
        for again in (address, unix, own):
            with connected(again, echo) as sock:
                talk(sock)
        (tmp_path / "c.toml").write_text(f"{head}listen = ['systemd:other']\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(
            "ERROR server.listen: systemd:other: no socket of this name was passed, .*; passed: web, local$"
        )
        with connected(address, echo) as sock:
            talk(sock)


def test_a_socket_that_every_host_can_reach_needs_a_login_as_well(tmp_path: Path) -> None:
    with activated(tmp_path, "[server]\nlisten = 'systemd:web'\n", {"web": "0.0.0.0:0"}) as server:
        server.wait_for(r"server.listen: 0\.0\.0\.0:\d+ can be reached from beyond this machine")
        assert server.ended() == 2


def test_without_a_socket_unit_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\nlisten = 'systemd:web'\n")
    server = Program([CHAINSOCKS, "serve", "-c", tmp_path / "c.toml"], clean_environment(tmp_path))
    server.wait_for(
        "chainsocks: systemd:web: the server was not started by a socket unit, which would pass it a socket"
    )
    assert server.ended() == 1
