"""A server at work is asked and steered by the commands, as operators do it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.background import wait_until
from tests.commands import run_process
from tests.e2e.control import ask, serving, sessions, silent_hop, target
from tests.e2e.programs import clean_environment
from tests.e2e.servers import chainsocks
from tests.e2e.spawner import OWN
from tests.e2e.wire import ask_socks5, connect


@pytest.mark.parametrize("lane", [True, False])
def test_a_session_is_seen_and_ended(*, lane: bool) -> None:
    with serving(lane=lane) as (server, path), target() as destination, connect(server.address) as client:
        ask_socks5(client, destination)
        [session] = sessions(path)
        assert session["destination"] == "{}:{}".format(*destination)
        assert session["place"]["phase"] == "relay"
        status, out = ask(path, "status")
        assert (status, "sessions: 1 of 10000" in out) == (0, True)
        assert ask(path, "sessions", "--kill", session["id"]) == (0, "sessions ended: 1\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert 'outcome="ended by request over the control socket"' in server.session(client.getsockname())
        assert ask(path, "sessions", "--kill", session["id"]) == (1, "sessions ended: 0\n")


def test_a_dial_is_seen_with_its_step(tmp_path: Path) -> None:
    with silent_hop() as hop, serving(hop) as (server, path), connect(server.address) as client:
        client.sendall(bytes.fromhex("05 01 00"))
        client.recv(2)
        client.sendall(bytes.fromhex("05 01 00 01 c0 00 02 01 00 50"))
        wait_until(lambda: [row["place"]["step"] for row in sessions(path)] == ["method negotiation"])
        [session] = sessions(path)
        assert (session["hops"], session["place"]["hop"], session["place"]["position"]) == (["hop1"], "hop1", 1)
        assert 5 < session["place"]["left"] <= 10
        assert ask(path, "hops")[1].splitlines()[1].split()[:5] == ["hop1", "socks5", hop[9:], "default", "unknown"]
        assert ask(path, "hops", "--rest", "hop1")[0] == 0
        status, out = ask(path, "status")
        assert (status, "trouble: hop hop1 is rested" in out) == (1, True)
        assert ask(path, "hops", "--wake", "hop1")[0] == 0
        assert ask(path, "status")[0] == 0


def test_reload(tmp_path: Path) -> None:
    with serving() as (server, path):
        config = Path(server.process.args[-1])
        assert server.listeners
        text = config.read_text()
        config.write_text(text + "\n[hops]\nosaka = 'socks9://10.0.0.1'\n")
        status, out = ask(path, "reload")
        assert status == 2
        assert "hops.osaka: " in out
        assert out.endswith("not reloaded: the server goes on with the configuration that it had\n")
        config.write_text(text + "\n[hops]\nosaka = 'socks5://10.0.0.1'\n")
        status, out = ask(path, "reload")
        assert (status, f"reloaded: new sessions use {config}\n" in out) == (0, True)
        assert "hops: 1 of 1 well" in ask(path, "status")[1]


def test_drain_returns_when_the_server_has_ended() -> None:
    with serving(grace=1) as (server, path), target() as destination:
        with connect(server.address) as client:
            ask_socks5(client, destination)
            assert len(sessions(path)) == 1
        status, out = ask(path, "drain", "--delay", "0.2")
        assert out.startswith("draining: new connections for 0.2 s more, then up to 1 s for the open sessions\n")
        assert (status, out.splitlines()[-1]) == (0, "the server has ended")
        assert server.process.poll() == 0
        assert not path.exists()
        assert ask(path, "status")[0] == 3


def test_the_socket_of_a_killed_server_is_replaced() -> None:
    with serving() as (server, path):
        assert server.listeners
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
        assert path.exists()
        assert ask(path, "status")[0] == 3
        with chainsocks(server_lines=["[control]", f'socket = "{path}"']) as next_server:
            assert next_server.listeners
            assert ask(path, "status")[0] == 0


def test_a_configured_place_that_another_server_has_ends_the_start() -> None:
    with serving() as (server, path):
        assert server.listeners
        config = path.parent / "other.toml"
        config.write_text(f'[server]\nlisten = ["127.0.0.1:0"]\n[control]\nsocket = "{path}"\n')
        status, out, err = run_process([OWN, "serve", "-q", config], clean_environment(path.parent), path.parent)
        assert (status, out) == (1, "")
        assert err == f"chainsocks: {path}: another server answers there\n"
        assert ask(path, "status")[0] == 0


def test_only_its_user_and_root_can_ask() -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can become another user")
    with serving() as (server, path):
        assert server.listeners
        path.parent.chmod(0o755)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setuid(65534)
                socket.socket(socket.AF_UNIX).connect(str(path))
            except PermissionError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
