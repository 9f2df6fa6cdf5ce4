"""A server whose control socket is at a known place, and commands that ask it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.commands import run_process
from tests.control.answering import short_folder
from tests.e2e.programs import clean_environment
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.spawner import OWN

__all__ = ["ask", "serving", "sessions", "silent_hop", "target"]


@contextmanager
def serving(*hops: str, **settings: Any) -> Iterator[tuple[Chainsocks, Path]]:
    """A server, and its control socket."""
    with short_folder() as folder:
        path = folder / "control"
        lines = ["[control]", f'socket = "{path}"']
        with chainsocks(*hops, server_lines=lines, **settings) as server:
            assert server.listeners
            yield server, path


def ask(path: Path, *arguments: str) -> tuple[int, str]:
    """Run a command; return its exit status and what it prints."""
    environment = clean_environment(path.parent, COLUMNS="200")
    status, out, err = run_process([OWN, *arguments, "--control", str(path)], environment, path.parent)
    return status, out + err


def sessions(path: Path) -> list[dict[str, Any]]:
    status, out = ask(path, "sessions", "--json")
    assert status == 0
    found: list[dict[str, Any]] = json.loads(out)["sessions"]
    return found


@contextmanager
def silent_hop() -> Iterator[str]:
    """A hop that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield "socks5://127.0.0.1:{1}".format(*sock.getsockname())


@contextmanager
def target() -> Iterator[tuple[str, int]]:
    """A destination that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()
