"""What is completed where a name is expected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from chainsocks.cli import cli
from chainsocks.tools import completion
from chainsocks.tools.topics import topics

FILE = """
[hops]
paris = "socks5://10.0.0.1"
parma = "socks5://10.0.0.2"
"bob:hunter2@host" = "socks5://10.0.0.3"
[chains]
default = ["paris"]
slow = ["paris", "parma"]
[[users]]
name = "carol"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.toml").write_text(FILE)
    return tmp_path / "a.toml"


def completed(*words: str) -> list[str]:
    *before, incomplete = words
    found = ShellComplete(cli, {}, "chainsocks", "X").get_completions(before, incomplete)
    return [each.value for each in found]


def test_chains(file: Path) -> None:
    assert completed("probe", "-c", str(file), "--chain", "") == ["default", "slow", "direct"]
    assert completed("probe", "-c", str(file), "--chain", "d") == ["default", "direct"]
    assert completed("sessions", "-c", str(file), "--chain", "s") == ["slow"]


def test_hops_without_logins(file: Path) -> None:
    assert completed("hops", "-c", str(file), "--rest", "") == ["paris", "parma"]


def test_users(file: Path) -> None:
    assert completed("check", str(file), "--user", "") == ["carol"]


def test_topics() -> None:
    assert completed("manual", "") == topics()


def test_the_file_that_is_found(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(completion, "find_config", lambda: file)
    assert completed("probe", "--chain", "sl") == ["slow"]
    monkeypatch.setattr(completion, "find_config", lambda: None)
    assert completed("probe", "--chain", "") == ["direct"]


@pytest.mark.parametrize(
    "text", ["[chains", "chains = 5", "[[chains]]", "users = 5\nhops = []", "\xff", "x = " + "[" * 10_000]
)
def test_a_file_with_mistakes_completes_what_it_can(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(text.encode("latin-1"))
    assert completed("probe", "-c", str(path), "--chain", "") == ["direct"]
    assert completed("check", str(path), "--user", "") == []
    assert completed("hops", "-c", str(tmp_path), "--rest", "") == []


def test_commands_and_options() -> None:
    assert "completion" in completed("co")
    assert "--print" in completed("check", "--p")
    assert completed("check", "--socks", "4") == ["4", "4a"]


def test_little_is_loaded_for_it() -> None:
    """A shell asks after each tab."""
    script = (
        "import sys, chainsocks.tools.completion; print([n for n in ('trio', 'pydantic', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
