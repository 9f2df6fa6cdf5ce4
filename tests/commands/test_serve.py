"""`chainsocks serve`: options, warnings and the end."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from chainsocks.config.chains import DIRECT
from chainsocks.config.groups import hops_of
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.models import Config
from chainsocks.protocol.address import Address
from tests.commands import run_main
from tests.e2e.programs import Program, clean_environment, free_address
from tests.e2e.spawner import OWN
from tests.e2e.wire import ask_socks5, connect

FILE = """
[server]
listen = ["127.0.0.1:1"]

[timeouts]
hop = 7

[hops]
a = "socks5://a"

[chains]
default = ["a"]
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Config]]:
    """The configurations that would have been served."""
    configs: list[Config] = []

    async def serve(config: Config, *_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        assert gc.get_freeze_count() > 10_000, "a full collection would take as long as the start has left objects"
        configs.append(config)

    monkeypatch.setattr("chainsocks.commands.serve.serve_until_signalled", serve)
    monkeypatch.setattr("chainsocks.commands.configuration.find_config", lambda: None)
    yield configs
    gc.unfreeze()


@pytest.fixture
def served_by(monkeypatch: pytest.MonkeyPatch, served: list[Config]) -> list[int]:
    """With how many processes they would have been served, where that is not one."""
    numbers: list[int] = []

    def serve(config: Config, workers: int, *_: object) -> None:
        assert gc.get_freeze_count() > 10_000, "as above"
        numbers.append(workers)
        served.append(config)

    monkeypatch.setattr("chainsocks.commands.serve.serve_with_workers", serve)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5})
    return numbers


@pytest.fixture
def taken() -> Iterator[str]:
    """An address in use."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield "127.0.0.1:{1}".format(*sock.getsockname())


def test_without_a_file_it_is_direct_and_local(capsys: pytest.CaptureFixture[str], served: list[Config]) -> None:
    status, out, _ = run_main(capsys, "serve", "-q")
    assert (status, out) == (0, "")
    [config] = served
    assert config.server.listen == (Listener(Address("127.0.0.1", 1080)),)
    assert config.default_chain == DIRECT


def test_options_have_the_last_word(capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path) -> None:
    path = tmp_path / "chainsocks.toml"
    path.write_text(FILE)
    listen = ["--listen", "127.0.0.1:2", "--listen", "unix:/run/a.sock", "--listen", "[::1]:3"]
    hops = ["--hop", "socks5://b", "--hop", "socks4a://fred@c:3"]
    status, _, _ = run_main(capsys, "serve", "-c", path, *listen, *hops)
    assert status == 0
    [config] = served
    two, socket, three = Address("127.0.0.1", 2), UnixPath("/run/a.sock"), Address("::1", 3)
    assert config.server.listen == (Listener(two), Listener(socket), Listener(three))
    assert config.timeouts.hop == 7
    assert config.default_chain
    assert [str(hop.address) for hop in hops_of(config.default_chain.hops)] == ["b:1080", "c:3"]


def test_the_chains_that_rules_speak_of_stay(
    capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path
) -> None:
    path = tmp_path / "chainsocks.toml"
    path.write_text(FILE + "onion = ['a']\n[[rules]]\nto = '*.onion'\nchain = 'onion'\n")
    assert run_main(capsys, "serve", "-q", "-c", path, "--hop", "socks5://b") == (0, "", "")
    [config] = served
    assert {name: str(chain) for name, chain in config.chains.items()} == {"default": "b:1080", "onion": "a"}


@pytest.mark.parametrize(
    ("last", "status"), [("deny = true", 0), ("to = '*.lan'\nchain = 'default'", 2)], ids=["shut out", "let in"]
)
def test_rules_may_shut_strangers_out(
    capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path, last: str, status: int
) -> None:
    path = tmp_path / "chainsocks.toml"
    path.write_text(FILE + f"[[rules]]\nfrom = '10.0.0.0/8'\nchain = 'default'\n[[rules]]\n{last}\n")
    result, _, err = run_main(capsys, "serve", "-c", path, "--listen", "0.0.0.0:1080")
    assert result == status
    assert len(served) == (status == 0)
    assert ("0.0.0.0:1080 can be reached from beyond this machine" in err) == (status == 2)


def test_a_file_is_taken_as_it_is(capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path) -> None:
    path = tmp_path / "chainsocks.toml"
    path.write_text(FILE)
    assert run_main(capsys, "serve", "-q", "-c", path) == (0, "", "")
    [config] = served
    assert config.server.listen == (Listener(Address("127.0.0.1", 1)),)
    assert str(config.default_chain) == "a"


@pytest.mark.parametrize(
    ("line", "option", "processes"),
    [
        pytest.param("", [], [], id="default"),
        pytest.param("workers = 2", [], [2], id="file"),
        pytest.param("workers = 2", ["--workers", "4"], [4], id="option"),
        pytest.param("workers = 2", ["--workers", "1"], [], id="option-one"),
        pytest.param("workers = 2", ["--workers", "0"], [3], id="option-one-per-core"),
        pytest.param("workers = 0", [], [3], id="file-one-per-core"),
        pytest.param("workers = 0\nmax_sessions = 1", [], [], id="one-session"),
    ],
)
def test_workers(
    capsys: pytest.CaptureFixture[str],
    served: list[Config],
    served_by: list[int],
    tmp_path: Path,
    line: str,
    option: list[str],
    processes: list[int],
) -> None:
    (tmp_path / "chainsocks.toml").write_text(f"[server]\n{line}")
    assert run_main(capsys, "serve", "-q", "-c", tmp_path / "chainsocks.toml", *option) == (0, "", "")
    assert (served_by, len(served)) == (processes, 1)


def test_more_workers_than_sessions(
    capsys: pytest.CaptureFixture[str], served: list[Config], served_by: list[int], tmp_path: Path
) -> None:
    (tmp_path / "chainsocks.toml").write_text("[server]\nmax_sessions = 3")
    options = ["--workers", "4", "--listen", "nonsense"]
    status, out, err = run_main(capsys, "serve", "-c", tmp_path / "chainsocks.toml", *options)
    assert (status, out, served) == (2, "", [])
    assert err.splitlines() == [
        "chainsocks: --listen: 'nonsense': a port is missing, as in example.org:1080",
        "chainsocks: --workers: found 4, expected at most 3, which is max_sessions: each worker needs one",
    ]


def test_workers_where_they_cannot_be(
    capsys: pytest.CaptureFixture[str],
    served: list[Config],
    served_by: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    status, out, err = run_main(capsys, "serve", "-q", "--hop", "socks5://a", "--workers", "2")
    assert (status, out, served) == (2, "", [])
    assert err.startswith("chainsocks: server.workers: processes cannot share a port on this system")


def test_every_option_that_is_wrong_is_reported(capsys: pytest.CaptureFixture[str], served: list[Config]) -> None:
    options = ["--listen", "nonsense", "--hop", "socks6://alice:hunter2@a"]
    status, out, err = run_main(capsys, "serve", *options)
    assert (status, out, served) == (2, "", [])
    assert err.splitlines() == [
        "chainsocks: --listen: 'nonsense': a port is missing, as in example.org:1080",
        "chainsocks: --hop: unknown scheme 'socks6'; did you mean 'socks5'?",
    ]


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"])
def test_an_open_proxy_is_refused(capsys: pytest.CaptureFixture[str], served: list[Config], listen: str) -> None:
    status, out, err = run_main(capsys, "serve", "--listen", "127.0.0.1:0", "--listen", listen)
    assert (status, out, served) == (2, "", [])
    [line] = err.splitlines()
    assert line.startswith(f"chainsocks: --listen: {listen} can be reached from beyond this machine")
    assert "[[users]]" in line
    assert "open = true" in line


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param("[server]\nopen = true", id="open"),
        pytest.param('[[users]]\nname = "carol"\npassword_env = "CAROL"', id="users"),
    ],
)
def test_an_open_proxy_that_is_meant(
    capsys: pytest.CaptureFixture[str],
    served: list[Config],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    leave: str,
) -> None:
    monkeypatch.setenv("CAROL", "wonderland")
    (tmp_path / "chainsocks.toml").write_text(leave)
    status, _, _ = run_main(capsys, "serve", "-c", tmp_path / "chainsocks.toml", "--listen", "0.0.0.0:0")
    assert status == 0
    assert len(served) == 1


def test_what_is_hardly_meant_is_warned_of(
    capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path
) -> None:
    """With -q, too."""
    (tmp_path / "chainsocks.toml").write_text('[hops]\na = "socks5://a"')
    status, _, err = run_main(capsys, "serve", "-q", "-c", tmp_path / "chainsocks.toml")
    assert (status, len(served)) == (0, 1)
    assert err.endswith(" WARNING hop a is in no chain\n")


def test_an_address_in_use(capsys: pytest.CaptureFixture[str], taken: str) -> None:
    status, out, err = run_main(
        capsys, "serve", "-q", "--hop", "socks5://a", "--listen", "127.0.0.1:0", "--listen", taken
    )
    assert (status, out) == (1, "")
    assert err == (
        f"chainsocks: {taken}: Address already in use; "
        "stop the program that listens there, or choose another address with --listen\n"
    )


def test_a_unix_socket_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/none/a.sock"
    status, out, err = run_main(capsys, "serve", "-q", "--hop", "socks5://a", "--listen", listen)
    assert (status, out, err) == (1, "", f"chainsocks: {listen}: No such file or directory\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    program = Program([OWN, "serve", "--listen", "127.0.0.1:0"], clean_environment(tmp_path))
    program.wait_for("INFO listening on 127.0.0.1:[1-9]")
    program.process.send_signal(number)
    assert program.ended() == 0
    assert [line.split(" ", 2)[2] for line in program.lines[-2:]] == [
        f"INFO {number.name}: no new connections, up to 10 s for the open ones",
        "INFO stopped",
    ]


@pytest.mark.parametrize(
    ("option", "levels"),
    [
        pytest.param("-q", {"WARNING"}, id="quiet"),
        pytest.param("-v", {"DEBUG", "INFO", "WARNING"}, id="verbose"),
    ],
)
def test_how_much_is_said(tmp_path: Path, option: str, levels: set[str]) -> None:
    host, port = free_address()
    program = Program([OWN, "serve", option, "--listen", f"{host}:{port}"], clean_environment(tmp_path))
    try:
        assert program.wait_until_it_listens((host, port))
        with socket.create_server(("127.0.0.1", 0)) as target, connect((host, port)) as sock:
            assert ask_socks5(sock, target.getsockname()) == 0
    finally:
        assert program.stop() == 0
    assert {line.split()[2] for line in program.lines} == levels


@pytest.mark.parametrize(("workers", "limit", "warned"), [("1", 15_000, True), ("2", 15_000, False)])
def test_sessions_that_need_more_files_than_there_are(
    monkeypatch: pytest.MonkeyPatch,
    served_by: list[int],
    capsys: pytest.CaptureFixture[str],
    workers: str,
    limit: int,
    *,
    warned: bool,
) -> None:
    monkeypatch.setattr("chainsocks.commands.serve.raise_limit", lambda: limit)
    status, _, err = run_main(capsys, "serve", "--workers", workers)
    assert status == 0
    assert ("10000 sessions in one process need more than 20000 open files" in err) == warned


@pytest.mark.parametrize("option", [[], ["-c"]])
def test_the_file_may_be_named_as_check_has_it(
    capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path, option: list[str]
) -> None:
    (tmp_path / "a.toml").write_text(FILE)
    status, out, err = run_main(capsys, "serve", *option, tmp_path / "a.toml")
    assert (status, out) == (0, "")
    assert f"INFO configuration: {tmp_path}/a.toml\n" in err
    assert [str(config.default_chain) for config in served] == ["a"]


def test_a_default_chain_without_hops_connects_directly(tmp_path: Path) -> None:
    host, port = free_address()
    chains = "[hops]\na = 'socks5://127.0.0.1:1'\n[chains]\ndefault = 'direct'\nb = ['a']"
    (tmp_path / "chainsocks.toml").write_text(f"[server]\nlisten = '{host}:{port}'\n{chains}")
    program = Program([OWN, "serve", tmp_path / "chainsocks.toml"], clean_environment(tmp_path))
    try:
        assert program.wait_until_it_listens((host, port))
        with socket.create_server(("127.0.0.1", 0)) as target, connect((host, port)) as sock:
            assert ask_socks5(sock, target.getsockname()) == 0
    finally:
        assert program.stop() == 0
    assert "INFO default chain: direct" in program.lines[1]
