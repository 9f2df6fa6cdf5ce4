"""Reloading the server as users start it, with one process and with several."""

from __future__ import annotations

import os
import re
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from chainsocks.config.passwords import hash_password
from tests.background import wait_until
from tests.e2e.programs import SocketAddress, free_address
from tests.e2e.reloading import reloadable
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import GREETING, ask_socks5, connect, connected, read, socks5_login, socks5_request


def config(*listen: str, workers: int = 1, more: str = "") -> str:
    addresses = ", ".join(f"'{each}'" for each in listen)
    return f"[server]\nlisten = [{addresses}]\nworkers = {workers}\n{more}\n[timeouts]\ngrace = 1\n"


def at(address: SocketAddress) -> str:
    return f"{address[0]}:{address[1]}"


def talk(sock: socket.socket) -> None:
    sock.sendall(b"still there?")
    assert read(sock, 12) == b"still there?"


both = pytest.mark.parametrize("workers", [1, 2])


@both
def test_sessions_listeners_and_what_is_wrong(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    one, other, unix = free_address(), free_address(), tmp_path / "s"
    with reloadable(tmp_path, config(at(one), workers=workers)) as server, ExitStack() as stack:
        assert server.address == one
        old = [stack.enter_context(connected(one, echo)) for _ in range(8)]
        server.reload(config(at(one), at(other), f"unix:{unix}", workers=workers))
        for address in (one, other, str(unix)):
            talk(stack.enter_context(connected(address, echo)))
        server.reload(config(at(other), workers=workers, more="foo = 1\nbar = 2"))
        for problem in (r"c\.toml: server\.foo: unknown key", r"c\.toml: server\.bar: unknown key", "not reloaded: "):
            server.wait_for(f"ERROR .*{problem}")
        talk(stack.enter_context(connected(one, echo)))
        server.reload(config(at(other), workers=workers))
        with pytest.raises(ConnectionRefusedError):
            connect(one)
        assert not unix.exists()
        for sock in old:
            talk(sock)
        talk(stack.enter_context(connected(other, echo)))


def greet(address: SocketAddress, name: str, password: str) -> bool:
    """Whether a login is accepted."""
    with connect(address) as sock:
        sock.sendall(b"\x05\x01\x02" + socks5_login(name, password))
        return read(sock, 4) == bytes.fromhex("05 02 01 00")


@both
def test_users_and_rules_change_and_the_options_stay(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    """A changed password needs no change of the file that names the file that it is in."""
    address, secret = free_address(), tmp_path / "password"
    options = ["--listen", at(address), "--workers", str(workers)]
    user = "[[users]]\nname = 'carol'\npassword_file = 'password'\n"
    secret.write_text("one\n")
    with reloadable(tmp_path, user, *options) as server:
        assert server.address == address
        assert [greet(address, "carol", word) for word in ("one", "two")] == [True, False]
        secret.write_text("two\n")
        server.reload()
        assert [greet(address, "carol", word) for word in ("one", "two")] == [False, True]
        server.reload(f"[[rules]]\nports = {echo[1]}\ndeny = true\n")
        with connect(address) as sock:
            assert ask_socks5(sock, echo) == 2
        server.reload("")
        with connected(address, echo) as sock:
            talk(sock)
        assert len(re.findall("listening on", server.said)) == 1


@both
def test_the_state_is_written_into_the_log(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    more = "[hops]\na = 'socks5://127.0.0.1:1'\n[chains]\nc = ['a']\n[[rules]]\nports = '1-65535'\nchain = 'direct'\n"
    address = free_address()
    with reloadable(tmp_path, config(at(address), workers=workers) + more) as server:
        with connected(server.address, echo) as sock:
            os.kill(server.process.pid, signal.SIGUSR1)
            server.wait_for(r"state: \d sessions?, 1 of 1 hop well", times=workers)
            talk(sock)
        assert server.said.count("state: 1 session,") == 1


def test_the_number_of_workers_changes(tmp_path: Path, echo: SocketAddress) -> None:
    address = free_address()
    with reloadable(tmp_path, config(at(address), workers=2)) as server, ExitStack() as stack:
        assert server.address == address
        old = [stack.enter_context(connected(address, echo)) for _ in range(16)]
        server.reload(config(at(address), workers=4))
        server.wait_for("worker 4 .* has started")
        old += [stack.enter_context(connected(address, echo)) for _ in range(16)]
        server.reload(config(at(address), workers=1))
        for _ in range(32):
            with connected(address, echo) as sock:
                talk(sock)
        for sock in old:
            talk(sock)
        stack.close()
        server.wait_for(r"worker \d .* ended with status 0", times=3)
        with connected(address, echo) as sock:
            talk(sock)


def test_one_process_cannot_become_several_and_says_so(tmp_path: Path, echo: SocketAddress) -> None:
    address, other = free_address(), free_address()
    with reloadable(tmp_path, config(at(address))) as server:
        assert server.address == address
        server.reload(config(at(address), at(other), workers=2))
        server.wait_for(
            "ERROR .*server.workers: it cannot become 2, as the server was started with one process: restart the server"
        )
        with pytest.raises(ConnectionRefusedError):
            connect(other)


def test_without_a_file_there_is_nothing_to_read(tmp_path: Path, echo: SocketAddress) -> None:
    with ExitStack() as stack:
        address = free_address()
        server = Chainsocks.__new__(Chainsocks)
        super(Chainsocks, server).__init__(
            ["chainsocks", "serve", "--listen", at(address)],
            {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        )
        stack.callback(server.stop)
        assert server.address == address
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("ERROR the server was started without a file, and there is no configuration file: looked for ")
        server.wait_for("not reloaded: the server goes on")
        with connected(address, echo) as sock:
            talk(sock)


@both
def test_reloads_under_load_cut_nothing_and_leave_nothing(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    """A small one of `python -m benchmarks.reloads`."""
    address, other = free_address(), free_address()
    plain = config(at(address), workers=workers)
    turns = [config(at(address), at(other), workers=workers), "foo = 1", plain]
    with reloadable(tmp_path, plain) as server, ExitStack() as stack:
        assert server.address == address
        long = [stack.enter_context(connected(address, echo)) for _ in range(4)]
        for number in range(15):
            server.config.write_text(turns[number % 3])
            server.process.send_signal(signal.SIGHUP)
            for _ in range(5):
                with connect(address) as sock:
                    sock.sendall(GREETING + socks5_request(echo))
                    assert read(sock, 4) == bytes.fromhex("05 00 05 00")
                    read(sock, 8)
                    talk(sock)
            for sock in long:
                talk(sock)
            server.reloads += 1
            server.wait_for(" (reloaded|not reloaded): ", times=server.reloads)
            server.wait_for('outcome="finished"', times=5 * (number + 1))
            if number == 2:
                before = open_files(server)
        for sock in long:
            talk(sock)
        wait_until(lambda: open_files(server) == before)


def open_files(server: Chainsocks) -> list[int]:
    """How many files each process of a server has open."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [len([*Path(f"/proc/{each}/fd").iterdir()]) for each in (pid, *children)]


@both
def test_a_list_of_users_changes_and_is_never_emptied(tmp_path: Path, workers: int) -> None:
    address, users = free_address(), tmp_path / "users"
    text = f"[server]\nlisten = '{at(address)}'\nworkers = {workers}\nusers_file = 'users'\n"
    users.write_text(f"carol:{hash_password(b'one')}\n")
    with reloadable(tmp_path, text) as server:
        assert server.address == address
        assert [greet(address, name, "one") for name in ("carol", "dave")] == [True, False]
        users.write_text(f"# carol has left\ndave:{hash_password(b'one')}\n")
        server.reload()
        assert [greet(address, name, "one") for name in ("carol", "dave")] == [False, True]
        for number, content in enumerate(("", "dave:hunter2\n", None), 1):
            if content is None:
                users.unlink()
            else:
                users.write_text(content)
            server.reload()
            server.wait_for("not reloaded: ", times=number)
            assert [greet(address, name, "one") for name in ("carol", "dave")] == [False, True]
        assert "hunter2" not in server.said


def test_the_password_of_a_hop_changes(tmp_path: Path, echo: SocketAddress) -> None:
    address, secret = free_address(), tmp_path / "secret"
    with chainsocks(users={"bob": "new"}) as hop:
        login = f"protocol = 'socks5', address = '{at(hop.address)}', username = 'bob', password_file = '{secret}'"
        text = f"[server]\nlisten = '{at(address)}'\n[hops]\na = {{ {login} }}\n[chains]\ndefault = ['a']\n"
        secret.write_text("old\n")
        with reloadable(tmp_path, text) as server:
            with connect(server.address) as sock:
                assert ask_socks5(sock, echo) == 1
            secret.write_text("new\n")
            server.reload()
            with connected(address, echo) as sock:
                talk(sock)
