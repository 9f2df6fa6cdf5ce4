"""One control socket for several workers, and what becomes of it when one of the processes dies."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.background import wait_until
from tests.e2e.control import ask, serving, sessions, silent_hop, target
from tests.e2e.servers import Chainsocks
from tests.e2e.wire import ask_socks5, connect


def children(server: Chainsocks) -> set[int]:
    pid = server.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def workers(server: Chainsocks) -> dict[int, int]:
    """The workers that ever were, by number."""
    found = (re.search(r" worker (\d+) \(pid (\d+)\) has started$", line) for line in server.lines)
    return {int(match[1]): int(match[2]) for match in found if match}


def is_gone(server: Chainsocks, pid: int) -> bool:
    return pid not in children(server)


def test_all_sessions_are_seen_and_any_can_be_ended() -> None:
    with serving(workers=2) as (server, path), target() as destination, ExitStack() as stack:
        clients = [stack.enter_context(connect(server.address)) for _ in range(16)]
        for client in clients:
            ask_socks5(client, destination)
        found = {session["client"]: session["id"] for session in sessions(path)}
        assert len(found) == 16
        assert {identity.partition("-")[0] for identity in found.values()} == {"1", "2"}
        for client in clients[:4]:
            identity = found["{}:{}".format(*client.getsockname())]
            assert ask(path, "sessions", "--kill", identity) == (0, "sessions ended: 1\n")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert len(sessions(path)) == 12
        status, out = ask(path, "status")
        assert status == 0
        assert f"pid {server.process.pid}, " in out
        assert re.search(r"worker 1: pid \d+, sessions: \d+ of 5000\nworker 2: pid", out)
        status, out = ask(path, "sessions", "--kill", "all", "--chain", "direct")
        assert (status, out) == (0, "sessions ended: 12\n")


def test_the_control_process_can_die_again_and_again_and_sessions_never_notice() -> None:
    with serving(workers=2) as (server, path), target() as destination, connect(server.address) as client:
        ask_socks5(client, destination)
        for _ in range(3):
            before = sessions(path)
            [control_process] = children(server) - {*workers(server).values()}
            os.kill(control_process, signal.SIGKILL)
            wait_until(partial(is_gone, server, control_process))
            assert [each["id"] for each in sessions(path)] == [each["id"] for each in before]  # it waits for the next
        assert len(workers(server)) == 2


def test_a_worker_that_dies_or_is_stuck_shows() -> None:
    with serving(workers=2) as (server, path):
        assert ask(path, "status")[0] == 0
        os.kill(workers(server)[1], signal.SIGKILL)
        wait_until(lambda: 3 in workers(server))
        wait_until(lambda: ask(path, "status")[0] == 0)
        assert "worker 3: pid" in ask(path, "status")[1]
        stuck = workers(server)[2]
        os.kill(stuck, signal.SIGSTOP)
        status, out = ask(path, "status")
        os.kill(stuck, signal.SIGCONT)
        assert status == 1
        assert f"worker 2: pid {stuck}, does not answer\n" in out
        assert "trouble: worker 2 does not answer\n" in out
        wait_until(lambda: ask(path, "status")[0] == 0)


def test_a_rested_hop_stays_so_in_a_worker_that_is_replaced() -> None:
    with silent_hop() as hop, serving(hop, workers=2) as (server, path):
        assert ask(path, "hops", "--rest", "hop1")[0] == 0
        os.kill(workers(server)[1], signal.SIGKILL)
        wait_until(lambda: 3 in workers(server))
        wait_until(lambda: "2 of 2 workers run" not in ask(path, "status")[1])
        wait_until(lambda: "trouble: hop hop1 is rested\n" in ask(path, "status")[1])


def test_reload_and_drain() -> None:
    with serving(workers=2) as (server, path):
        assert server.listeners
        config = Path(server.process.args[-1])
        text = config.read_text()
        config.write_text(text + "\n[hops]\nosaka = 'socks9://10.0.0.1'\n")
        status, out = ask(path, "reload")
        assert (status, "hops.osaka: " in out) == (2, True)
        config.write_text(text.replace(str(path), "/elsewhere"))
        status, out = ask(path, "reload")
        assert (status, "control.socket: it cannot change while the server runs" in out) == (2, True)
        config.write_text(text.replace("workers = 2", "workers = 3"))
        status, out = ask(path, "reload")
        assert (status, f"reloaded: new sessions use {config}\n" in out) == (0, True)
        wait_until(lambda: "worker 3: pid" in ask(path, "status")[1])
        status, out = ask(path, "drain", "--delay", "0.3")
        assert (status, out.splitlines()[-1]) == (0, "the server has ended")
        assert server.process.poll() == 0
        assert not path.exists()
