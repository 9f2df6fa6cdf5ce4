"""The command line: what is understood, what is said when something is wrong, and the exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import trio
from rich.console import Console

from chainsocks.config.chains import DIRECT, hops_of
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.load import load_config
from chainsocks.config.models import Config
from chainsocks.config.passwords import parse_hash
from chainsocks.errors import Cause, ConnectError, Place, Step
from chainsocks.protocol.address import Address
from tests.commands import CHAINSOCKS, run_main
from tests.e2e.programs import PATIENCE, Process, Program, clean_environment, free_address
from tests.e2e.spawner import OWN
from tests.e2e.wire import ask_socks5, connect

COMMANDS = ["bench", "check", "demo", "hash-password", "manual", "probe", "serve"]

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
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations that would have been served."""
    configs: list[Config] = []

    async def serve(config: Config) -> None:
        await trio.lowlevel.checkpoint()
        configs.append(config)

    monkeypatch.setattr("chainsocks.cli.serve_until_signalled", serve)
    monkeypatch.setattr("chainsocks.cli.find_config", lambda: None)
    return configs


@pytest.fixture
def served_by(monkeypatch: pytest.MonkeyPatch, served: list[Config]) -> list[int]:
    """With how many processes they would have been served, where that is not one."""
    numbers: list[int] = []

    def serve(config: Config, workers: int) -> None:
        numbers.append(workers)
        served.append(config)

    monkeypatch.setattr("chainsocks.cli.serve_with_workers", serve)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5})
    return numbers


@pytest.fixture
def taken() -> Iterator[str]:
    """An address in use."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield "127.0.0.1:{1}".format(*sock.getsockname())


class TestHelp:
    @pytest.mark.parametrize("option", ["-h", "--help"])
    def test_of_the_program(self, capsys: pytest.CaptureFixture[str], option: str) -> None:
        status, out, err = run_main(capsys, option)
        assert (status, err) == (0, "")
        assert re.findall(r"^  ([a-z][a-z-]+)  ", out, re.MULTILINE) == COMMANDS
        assert "..." not in out.partition("Options:")[2], "a summary is too long for its line"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_of_a_command(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        status, out, err = run_main(capsys, command, "-h")
        assert (status, err) == (0, "")
        assert out.startswith(f"Usage: chainsocks {command} ")

    def test_the_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run_main(capsys, "--version")
        assert (status, err) == (0, "")
        assert re.fullmatch(r"chainsocks, version \d+\.\d+\.\d+\n", out)

    def test_without_a_command_the_help_is_an_answer_to_a_mistake(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run_main(capsys)
        assert (status, out) == (2, "")
        assert err.startswith("Usage: chainsocks ")


@pytest.mark.parametrize(
    ("arguments", "complaint", "help_for"),
    [
        pytest.param(["sevre"], "No such command 'sevre'", "chainsocks", id="command"),
        pytest.param(["--color"], "No such option", "chainsocks", id="option"),
        pytest.param(["serve", "--prot", "1"], "No such option", "chainsocks serve", id="option-of-a-command"),
        pytest.param(["serve", "--listen"], "requires an argument", "chainsocks", id="no-value"),
        pytest.param(["serve", "--workers", "-1"], "-1 is not in the range x>=0", "chainsocks serve", id="too-few"),
        pytest.param(["serve", "--workers", "all"], "'all' is not a valid int", "chainsocks serve", id="no-number"),
        pytest.param(["check", "a", "b"], "unexpected extra argument", "chainsocks check", id="too-many"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str, help_for: str) -> None:
    """Two lines: what is wrong, and where to look."""
    status, out, err = run_main(capsys, *arguments)
    assert (status, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith("chainsocks: ")
    assert complaint in first
    assert second == f"Try: {help_for} --help"


class TestServe:
    def test_without_a_file_it_is_direct_and_local(
        self, capsys: pytest.CaptureFixture[str], served: list[Config]
    ) -> None:
        assert run_main(capsys, "serve") == (0, "", "")
        [config] = served
        assert config.server.listen == (Listener(Address("127.0.0.1", 1080)),)
        assert config.default_chain == DIRECT

    def test_options_have_the_last_word(
        self, capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path
    ) -> None:
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
        self, capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path
    ) -> None:
        path = tmp_path / "chainsocks.toml"
        path.write_text(FILE + "onion = ['a']\n[[rules]]\nto = '*.onion'\nchain = 'onion'\n")
        assert run_main(capsys, "serve", "-c", path, "--hop", "socks5://b") == (0, "", "")
        [config] = served
        assert {name: str(chain) for name, chain in config.chains.items()} == {"default": "b:1080", "onion": "a"}

    @pytest.mark.parametrize(
        ("last", "status"), [("deny = true", 0), ("to = '*.lan'\nchain = 'default'", 2)], ids=["shut out", "let in"]
    )
    def test_rules_may_shut_strangers_out(
        self, capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path, last: str, status: int
    ) -> None:
        path = tmp_path / "chainsocks.toml"
        path.write_text(FILE + f"[[rules]]\nfrom = '10.0.0.0/8'\nchain = 'default'\n[[rules]]\n{last}\n")
        result, _, err = run_main(capsys, "serve", "-c", path, "--listen", "0.0.0.0:1080")
        assert result == status
        assert len(served) == (status == 0)
        assert ("0.0.0.0:1080 can be reached from beyond this machine" in err) == (status == 2)

    def test_a_file_is_taken_as_it_is(
        self, capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path
    ) -> None:
        path = tmp_path / "chainsocks.toml"
        path.write_text(FILE)
        assert run_main(capsys, "serve", "-c", path) == (0, "", "")
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
        self,
        capsys: pytest.CaptureFixture[str],
        served: list[Config],
        served_by: list[int],
        tmp_path: Path,
        line: str,
        option: list[str],
        processes: list[int],
    ) -> None:
        (tmp_path / "chainsocks.toml").write_text(f"[server]\n{line}")
        assert run_main(capsys, "serve", "-c", tmp_path / "chainsocks.toml", *option) == (0, "", "")
        assert (served_by, len(served)) == (processes, 1)

    def test_more_workers_than_sessions(
        self, capsys: pytest.CaptureFixture[str], served: list[Config], served_by: list[int], tmp_path: Path
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
        self,
        capsys: pytest.CaptureFixture[str],
        served: list[Config],
        served_by: list[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delattr(socket, "SO_REUSEPORT")
        status, out, err = run_main(capsys, "serve", "--workers", "2")
        assert (status, out, served) == (2, "", [])
        assert err.startswith("chainsocks: server.workers: processes cannot share a port on this system")

    def test_every_option_that_is_wrong_is_reported(
        self, capsys: pytest.CaptureFixture[str], served: list[Config]
    ) -> None:
        options = ["--listen", "nonsense", "--hop", "socks6://alice:hunter2@a"]
        status, out, err = run_main(capsys, "serve", *options)
        assert (status, out, served) == (2, "", [])
        assert err.splitlines() == [
            "chainsocks: --listen: 'nonsense': a port is missing, as in example.org:1080",
            "chainsocks: --hop: unknown scheme 'socks6'; did you mean 'socks5'?",
        ]

    @pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"])
    def test_an_open_proxy_is_refused(
        self, capsys: pytest.CaptureFixture[str], served: list[Config], listen: str
    ) -> None:
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
        self,
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
        self, capsys: pytest.CaptureFixture[str], served: list[Config], tmp_path: Path
    ) -> None:
        """With -q, too."""
        (tmp_path / "chainsocks.toml").write_text('[hops]\na = "socks5://a"')
        status, _, err = run_main(capsys, "serve", "-q", "-c", tmp_path / "chainsocks.toml")
        assert (status, len(served)) == (0, 1)
        assert err.endswith(" WARNING hop a is in no chain\n")

    def test_an_address_in_use(self, capsys: pytest.CaptureFixture[str], taken: str) -> None:
        status, out, err = run_main(capsys, "serve", "--listen", "127.0.0.1:0", "--listen", taken)
        assert (status, out) == (1, "")
        assert err == (
            f"chainsocks: {taken}: Address already in use; "
            "stop the program that listens there, or choose another address with --listen\n"
        )

    def test_a_unix_socket_that_cannot_be(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        listen = f"unix:{tmp_path}/none/a.sock"
        status, out, err = run_main(capsys, "serve", "--listen", listen)
        assert (status, out, err) == (1, "", f"chainsocks: {listen}: No such file or directory\n")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
    def test_a_signal_ends_it_well(self, tmp_path: Path, number: signal.Signals) -> None:
        program = Program([OWN, "serve", "--listen", "127.0.0.1:0"], clean_environment(tmp_path))
        program.wait_for("INFO listening on 127.0.0.1:[1-9]")
        program.process.send_signal(number)
        assert program.ended() == 0
        assert [line.split(" ", 2)[2] for line in program.lines[1:]] == [
            f"INFO {number.name}: no new connections, up to 10 s for the open ones",
            "INFO stopped",
        ]

    @pytest.mark.parametrize(
        ("option", "levels"),
        [
            pytest.param("-q", set(), id="quiet"),
            pytest.param("-v", {"DEBUG", "INFO"}, id="verbose"),
        ],
    )
    def test_how_much_is_said(self, tmp_path: Path, option: str, levels: set[str]) -> None:
        host, port = free_address()
        program = Program([OWN, "serve", option, "--listen", f"{host}:{port}"], clean_environment(tmp_path))
        try:
            assert program.wait_until_it_listens((host, port))
            with socket.create_server(("127.0.0.1", 0)) as target, connect((host, port)) as sock:
                assert ask_socks5(sock, target.getsockname()) == 0
        finally:
            assert program.stop() == 0
        assert {line.split()[2] for line in program.lines} == levels


class TestCheck:
    def test_a_file_without_problems_is_shown(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "chainsocks.toml"
        path.write_text(FILE + 'onion = ["a"]\n[hops.b]\nurl = "socks5://b"\n')
        status, out, err = run_main(capsys, "check", path)
        assert (status, err) == (0, "warning: hop b is in no chain\n")
        assert "onion" in out

    def test_no_file_where_one_is_looked_for(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("chainsocks.cli.find_config", lambda: None)
        status, _, err = run_main(capsys, "check")
        assert status == 2
        assert "name it: chainsocks check FILE" in err

    @pytest.mark.parametrize(
        ("rule", "status", "says"), [("deny = true", 1, "refused: "), ("chain = 'direct'", 0, "192.0.2.1:80")]
    )
    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_what_a_request_would_meet(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, rule: str, status: int, says: str, options: list[str]
    ) -> None:
        path = tmp_path / "a.toml"
        path.write_text(f"[[rules]]\n{rule}\n")
        code, out, err = run_main(capsys, "check", path, "--explain", "192.0.2.1:80", *options)
        assert (code, err) == (status, "")
        assert (json.loads(out)["rule"] == 1) if options else says in out

    def test_what_only_goes_with_a_question(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "a.toml"
        path.write_text("")
        status, out, err = run_main(capsys, "check", path, "--user", "carol")
        assert (status, out) == (2, "")
        assert "need --explain HOST:PORT" in err

    @pytest.mark.parametrize("command", ["check", "serve"])
    def test_a_hop_that_is_this_very_server_is_refused(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
    ) -> None:
        path = tmp_path / "a.toml"
        path.write_text(
            "[server]\nlisten = ['127.0.0.1:7']\n[hops]\na = 'socks5://127.0.0.1:7'\n[chains]\ndefault = ['a']\n"
        )
        status, out, err = run_main(capsys, command, *(["-c"] if command == "serve" else []), path)
        assert (status, out) == (2, "")
        assert "hops.a: 127.0.0.1:7 is where this server listens" in err


def test_the_demo_comes_to_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run_main(capsys, "demo")
    assert status == 0
    assert "The web server answered" in out


class TestTools:
    def test_a_probe_of_a_hop_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            status, out, err = run_main(capsys, "probe", "--hop", "socks5://{}:{}".format(*closed.getsockname()))
        assert (status, err) == (1, "")
        assert "TCP connect: connection refused" in out

    def test_a_page_of_the_manual(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run_main(capsys, "manual", "deadlines")
        assert (status, err) == (0, "")
        assert "handshake" in out

    def test_what_cannot_be_measured(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run_main(capsys, "bench", "--only", "nonsense")
        assert (status, out) == (2, "")
        assert "nonsense" in err


class TestHashPassword:
    @pytest.mark.parametrize(
        ("words", "password"),
        [
            pytest.param(b"wonderland\n", b"wonderland", id="line"),
            pytest.param(b"wonderland", b"wonderland", id="no-end-of-line"),
            pytest.param(b" open sesame \r\nmore\n", b" open sesame ", id="first-line-as-it-is"),
            pytest.param("wäldchen\n".encode(), "wäldchen".encode(), id="utf-8"),
            pytest.param(b"\xff\xfe\n", b"\xff\xfe", id="any-bytes"),
            pytest.param(b"x" * 255, b"x" * 255, id="longest"),
            pytest.param(b"\r\n", b"", id="empty-line"),
        ],
    )
    def test_the_line_goes_into_the_file(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: bytes, password: bytes
    ) -> None:
        """And it accepts the password."""
        status, out, err = run_main(capsys, "hash-password", words=words)
        assert (status, err) == (0, "")
        assert out.count("\n") == 1
        path = tmp_path / "chainsocks.toml"
        path.write_text(f'[[users]]\nname = "carol"\n{out}')
        [user] = load_config(path).users
        assert user.password.matches(password)
        assert not user.password.matches(password + b".")

    @pytest.mark.parametrize(
        ("words", "size"),
        [
            pytest.param(b"x" * 256, 256, id="too-long"),
            pytest.param(("ä" * 128).encode(), 256, id="too-long-in-bytes"),
        ],
    )
    def test_no_password_of_socks5(self, capsys: pytest.CaptureFixture[str], words: bytes, size: int) -> None:
        status, out, err = run_main(capsys, "hash-password", words=words)
        assert (status, out) == (2, "")
        assert err.startswith(f"chainsocks: a SOCKS5 password has at most 255 bytes, this one has {size}\n")

    def test_no_line_is_no_empty_password(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A program that failed in front of the pipe has not chosen one."""
        status, out, err = run_main(capsys, "hash-password", words=b"")
        assert (status, out) == (2, "")
        assert err.startswith("chainsocks: standard input has no line with a password\n")

    def test_a_terminal_does_not_show_it(self, tmp_path: Path) -> None:
        master, slave = os.openpty()
        program = subprocess.Popen(
            [CHAINSOCKS, "hash-password"],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(tmp_path),
            start_new_session=True,
        )
        with program, os.fdopen(master, "r+b", buffering=0) as keyboard:
            os.close(slave)
            assert program.stderr
            assert program.stdout
            for prompt in (b"Password: ", b"Repeat for confirmation: "):
                assert program.stderr.read(len(prompt)) == prompt
                keyboard.write(b"wonderland\n")
                assert program.stderr.read(1) == b"\n"
            out = program.stdout.read().decode()
            try:
                echoed = keyboard.read(1000)
            except OSError:  # as Linux has it when the other end of a terminal is gone and has said nothing
                echoed = b""
        assert (program.returncode, echoed) == (0, b"")
        assert parse_hash(out.split('"')[1]).matches(b"wonderland")


def test_what_fails_on_the_way_says_so_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even from within a nursery."""

    async def demo(console: Console, *, stay: bool) -> None:
        async with trio.open_nursery():
            place = Place("paris", Address("127.0.0.1", 1), Step.CONNECT, 1, 3)
            raise ConnectError(place, "connection refused", Cause.CONNECTION_REFUSED, elapsed=0.5, limit=10)

    monkeypatch.setattr("chainsocks.cli.run_demo", demo)
    line = "hop paris (1 of 3) at 127.0.0.1:1, TCP connect: connection refused (0.50 s of 10 s)"
    assert run_main(capsys, "demo") == (1, "", f"chainsocks: {line}\n")


class TestBugs:
    @pytest.fixture
    def buggy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def serve(config: Config) -> None:
            async with trio.open_nursery():
                raise RuntimeError(f"cannot serve {config.server.workers}")

        monkeypatch.setattr("chainsocks.cli.serve_until_signalled", serve)
        monkeypatch.setattr("chainsocks.cli.find_config", lambda: None)
        monkeypatch.delenv("CHAINSOCKS_TRACEBACK", raising=False)

    LINE = "chainsocks: a bug in chainsocks: RuntimeError: cannot serve 1 (set CHAINSOCKS_TRACEBACK=1 to see where)\n"

    def test_a_bug_is_one_line(self, capsys: pytest.CaptureFixture[str], buggy: None) -> None:
        assert run_main(capsys, "serve") == (1, "", self.LINE)

    def test_the_line_says_how_to_see_more(
        self, capsys: pytest.CaptureFixture[str], buggy: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHAINSOCKS_TRACEBACK", "1")
        status, out, err = run_main(capsys, "serve")
        assert (status, out) == (1, "")
        assert err.startswith("Traceback (most recent call last):\n")
        assert "in serve\n" in err
        assert err.endswith(self.LINE)

    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, click.Abort], ids=["anywhere", "at-a-prompt"])
    def test_an_interrupt_needs_no_words(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
    ) -> None:
        """But for the end of the line that has the terminal's ``^C``."""

        def find() -> None:
            raise interrupt

        monkeypatch.setattr("chainsocks.cli.find_config", find)
        status, out, err = run_main(capsys, "serve")
        assert (status, out, err.strip()) == (130, "", "")


class TestStreams:
    """Standard input and output that are not what one expects."""

    @pytest.mark.parametrize("command", ["check chainsocks.toml", "demo --stay", "hash-password"])
    @pytest.mark.parametrize("output", ["closed", "full"])
    def test_output_that_goes_nowhere(self, tmp_path: Path, command: str, output: str) -> None:
        """As in ``chainsocks check | head -0``; or a full disk, which is worth a word."""
        (tmp_path / "chainsocks.toml").touch()
        if output == "full":
            sink = os.open("/dev/full", os.O_WRONLY)
        else:
            source, sink = os.pipe()
            os.close(source)
        with (tmp_path / "words").open("w+b") as words, (tmp_path / "errors").open("wb") as errors:
            words.write(b"wonderland\n")
            words.seek(0)
            try:
                environment = clean_environment(tmp_path)
                streams = sink, errors.fileno(), words.fileno()
                process = Process([OWN, *command.split()], environment, tmp_path, *streams)
            finally:
                os.close(sink)
            assert process.wait(PATIENCE) == 1
        said = (tmp_path / "errors").read_bytes()
        assert said == (b"" if output == "closed" else b"chainsocks: No space left on device\n")

    def test_no_standard_input(self, tmp_path: Path) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", '"$0" hash-password <&-', CHAINSOCKS],
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("chainsocks: standard input is closed; the password is read from there\n")


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
    monkeypatch.setattr("chainsocks.cli.raise_limit", lambda: limit)
    status, _, err = run_main(capsys, "serve", "--workers", workers)
    assert status == 0
    assert ("10000 sessions in one process need more than 20000 open files" in err) == warned
