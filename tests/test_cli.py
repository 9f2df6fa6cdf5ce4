"""The command line: what is understood, what is said when something is wrong, and the exit status."""

from __future__ import annotations

import errno
import inspect
import os
import re
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest
import trio
from rich.console import Console

from chainsocks.cli import cli
from chainsocks.commands import load_command
from chainsocks.config.models import Config
from chainsocks.errors import Cause, ConnectError, Place, Step
from chainsocks.protocol.address import Address
from tests.commands import CHAINSOCKS, run_main
from tests.e2e.programs import PATIENCE, Process, clean_environment
from tests.e2e.spawner import OWN

COMMANDS = sorted(cli.commands)


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
        pytest.param(
            ["serve", "--workers", "all"], "'all' is not a valid whole number.", "chainsocks serve", id="no-number"
        ),
        pytest.param(["probe", "--count", "x"], "not a valid whole number.", "chainsocks probe", id="no-count"),
        pytest.param(["top", "--interval", "x"], "'x' is not a valid number.", "chainsocks top", id="no-seconds"),
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


def test_what_fails_on_the_way_says_so_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even from within a nursery."""

    async def demo(console: Console, progress: Console, *, stay: bool) -> None:
        async with trio.open_nursery():
            place = Place("paris", Address("127.0.0.1", 1), Step.CONNECT, 1, 3)
            raise ConnectError(place, "connection refused", Cause.CONNECTION_REFUSED, elapsed=0.5, limit=10)

    monkeypatch.setattr("chainsocks.commands.demo.run_demo", demo)
    line = "hop paris (1 of 3) at 127.0.0.1:1, TCP connect: connection refused (0.50 s of 10 s)"
    assert run_main(capsys, "demo") == (1, "", f"chainsocks: {line}\n")


class TestBugs:
    @pytest.fixture
    def buggy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def serve(config: Config, *_: object, **__: object) -> None:
            async with trio.open_nursery():
                raise RuntimeError(f"cannot serve {config.server.workers}")

        monkeypatch.setattr("chainsocks.commands.serve.serve_until_signalled", serve)
        monkeypatch.setattr("chainsocks.commands.configuration.find_config", lambda: None)
        monkeypatch.delenv("CHAINSOCKS_TRACEBACK", raising=False)

    LINE = "chainsocks: a bug in chainsocks: RuntimeError: cannot serve 1 (set CHAINSOCKS_TRACEBACK=1 to see where)\n"

    def test_a_bug_is_one_line(self, capsys: pytest.CaptureFixture[str], buggy: None) -> None:
        status, out, err = run_main(capsys, "serve", "--hop", "socks5://a", "-q")
        assert (status, out, err) == (1, "", self.LINE)

    def test_the_line_says_how_to_see_more(
        self, capsys: pytest.CaptureFixture[str], buggy: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHAINSOCKS_TRACEBACK", "1")
        status, out, err = run_main(capsys, "serve", "--hop", "socks5://a", "-q")
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

        monkeypatch.setattr("chainsocks.commands.configuration.find_config", find)
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


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_command_takes_the_options_that_are_declared_for_it(name: str) -> None:
    """Its function is loaded by name, so that no type checker compares the two."""
    parameters = inspect.signature(load_command(name)).parameters.values()
    declared = {parameter.name for parameter in cli.commands[name].params}
    known = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD}
    if len(known) < len(parameters):  # the rest are the fields of its options
        known |= {each.name for each in fields(sys.modules[f"chainsocks.tools.{name}.command"].Options)}
    assert declared == known


@pytest.mark.parametrize(
    ("listen", "number", "advice"),
    [
        ("127.0.0.1:80", errno.EACCES, "ports below 1024 need a privilege: choose a higher port, or grant "),
        ("127.9.9.9:1080", errno.EADDRNOTAVAIL, "this machine has no such address"),
        ("127.9.9.9:1080", errno.EADDRINUSE, "stop the program that listens there, or choose another address"),
        ("unix:/run/a.sock", errno.EACCES, ""),
    ],
)
def test_what_to_do_about_an_address(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    listen: str,
    number: int,
    advice: str,
) -> None:
    async def serve(config: Config, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), listen)

    monkeypatch.setattr("chainsocks.commands.serve.serve_until_signalled", serve)
    status, out, err = run_main(capsys, "serve", "-q", "--hop", "socks5://a", "--listen", listen)
    assert (status, out) == (1, "")
    start = f"chainsocks: {listen}: {os.strerror(number)}"
    assert err.startswith(f"{start}; {advice}" if advice else f"{start}\n")


@pytest.mark.parametrize(
    ("options", "section", "choice"),
    [([], "server", "address with --listen"), (["--listen", "127.0.0.1:0"], "web", "address for `listen` in [web]")],
)
def test_where_to_choose_another_address(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], section: str, choice: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        (tmp_path / "c.toml").write_text(f"[{section}]\nlisten = '{address}'\n")
        status, _, err = run_main(capsys, "serve", "-q", "-c", tmp_path / "c.toml", *options)
    assert (status, err.endswith(f"in use; stop the program that listens there, or choose another {choice}\n")) == (
        1,
        True,
    )
    assert err.startswith(f"chainsocks: {address}: ")


@pytest.mark.parametrize("command", ["hash-password", "no-such-command"])
def test_loading_a_command_leaves_the_collector_on_and_little_for_it(command: str) -> None:
    script = (
        "import contextlib, gc, sys; from chainsocks.commands import load_command\n"
        "with contextlib.suppress(ImportError): load_command(sys.argv[1])\n"
        "print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", script, command], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
