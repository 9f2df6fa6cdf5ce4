"""`chainsocks exec`, before it executes anything; tests/e2e/test_exec.py has the rest."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import run_main, run_program
from tests.namespaces_of_users import needs_namespaces

HOP = "--hop=socks5://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["exec", HOP, "--chain=south", "true"], "--chain and --hop exclude each other"),
        (["exec", HOP, "--share=/nonexistent", "true"], "--share: there is no /nonexistent"),
        (["exec", HOP], "Missing argument 'COMMAND...'"),
        (["exec", HOP, "--publish=x", "true"], "--publish: found 'x', expected a port, or address:port"),
        (["exec", HOP, "--publish=127.0.0.1:0", "true"], "--publish: found '127.0.0.1:0', expected a port"),
        (["exec", HOP, "--env", "--publish=80", "true"], "--env makes no network of its own"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str) -> None:
    status, out, err = run_main(capsys, *arguments)
    assert (status, out) == (2, "")
    assert problem in err


def test_other_systems_have_no_such_namespaces(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert run_main(capsys, "exec", HOP, "true")[0] == 2


def test_options_behind_the_command_are_its_own(tmp_path: Path) -> None:
    needs_namespaces()
    status, out, err = run_program(tmp_path, "exec", HOP, "sh", "-c", "echo $0 $1; exit 3", "--hop", "-v")
    assert (status, out, err) == (3, "--hop -v\n", "")


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = run_main(capsys, "exec", HOP, f"--publish={port}", "true")
    assert (status, err) == (1, f"chainsocks: --publish {port} at 127.0.0.1: Address already in use\n")


def test_without_a_chain_nothing_is_run(tmp_path: Path) -> None:
    needs_namespaces()
    status, out, err = run_program(tmp_path, "exec", "echo", "it runs")
    assert (status, out) == (2, "")
    assert "there is no chain to send connections through" in err


def test_a_machine_without_namespaces_is_told_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    needs_namespaces()
    script = "import sys; from chainsocks.cli import main; import chainsocks.namespace.enter as enter\n"
    script += "def refuse(flags): raise PermissionError(1, 'Operation not permitted')\nenter.unshare = refuse\n"
    script += f"sys.argv = ['chainsocks', 'exec', '{HOP}', 'true']; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    status, out, err = done.returncode, done.stdout, done.stderr  # to their ends: no process is left behind
    assert (status, out) == (1, "")
    assert err.startswith("chainsocks: this machine does not let its users make namespaces (Operation not permitted)")
    assert len(err.splitlines()) == 1
