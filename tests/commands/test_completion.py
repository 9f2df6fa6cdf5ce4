"""`chainsocks completion` in the shells themselves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands import CHAINSOCKS, run_main
from tests.e2e.programs import PATIENCE, clean_environment, find_program

BASH = """
source <(chainsocks completion bash)
COMP_WORDS=(chainsocks probe --chain sl) COMP_CWORD=3
_chainsocks_completion chainsocks
echo "${COMPREPLY[@]}"
"""

ZSH = """
fpath=(FOLDER $fpath)
autoload -Uz compinit && compinit -u -d FOLDER/dump
print -r -- ${_comps[chainsocks]}
compadd() { local name=$@[-1]; print -r -- ${(P)name} }
source FOLDER/_chainsocks
words=(chainsocks probe --chain sl) CURRENT=4
_chainsocks_completion
"""

FISH = """
source (chainsocks completion fish | psub)
complete -C "chainsocks probe --chain sl"
"""


def run_shell(name: str, home: Path, script: str) -> list[str]:
    """Run a script in a shell that finds our program, beside a configuration file."""
    shell = find_program(name, name)
    (home / "chainsocks.toml").write_text('[hops]\na = "socks5://10.0.0.1"\n[chains]\nslow = ["a"]\n')
    environment = clean_environment(home)
    environment["PATH"] = f"{CHAINSOCKS.parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [shell, "-c", script],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE * 2,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash(tmp_path: Path) -> None:
    assert run_shell("bash", tmp_path, BASH) == ["slow"]


def test_fish(tmp_path: Path) -> None:
    assert run_shell("fish", tmp_path, FISH) == ["slow"]


def test_zsh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "_chainsocks").write_text(run_main(capsys, "completion", "zsh")[1])
    said = run_shell("zsh", tmp_path, ZSH.replace("FOLDER", str(tmp_path)))
    assert said[0] == "_chainsocks", "compinit does not know the file"
    assert "slow" in said


def test_another_shell_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "completion", "tcsh")
    assert (status, out) == (2, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in err
