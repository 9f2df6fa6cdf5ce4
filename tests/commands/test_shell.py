"""`chainsocks shell`: the mark in the prompt of each shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chainsocks.commands import shell as module
from tests.commands import run_program
from tests.namespaces_of_users import needs_namespaces


def marked(path: str) -> list[str]:
    return module._marked(path)


@pytest.mark.parametrize("before", ["", "true", "PS1='$ '"])
def test_bash_has_the_mark_whatever_its_start_files_say(monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    monkeypatch.setenv("PROMPT_COMMAND", before)
    [path] = marked("/bin/bash")
    script = 'PS1="own> "; eval "$PROMPT_COMMAND"; eval "$PROMPT_COMMAND"; echo "$PS1"'
    done = subprocess.run([path, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout == ("(chain) $ \n" if "PS1" in before else "(chain) own> \n")


def test_other_shells_have_it_in_ps1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS1", "own> ")
    assert marked("/bin/dash") == ["/bin/dash"]
    done = subprocess.run(["sh", "-c", 'echo "$PS1"'], capture_output=True, check=True, text=True)
    assert done.stdout == "(chain) own> \n"


def test_fish_gets_a_prompt_around_its_own() -> None:
    path, option, function = marked("/usr/bin/fish")
    assert (path, option) == ("/usr/bin/fish", "--init-command")
    assert "echo -n '(chain) '" in function


def test_it_is_the_users_shell(tmp_path: Path) -> None:
    needs_namespaces()
    hop = "--hop=socks5://127.0.0.1:1"
    status, out, err = run_program(tmp_path, "shell", hop, SHELL="/bin/sh", words=b'echo "$PS1"\nexit 5\n')
    assert (status, out, err) == (5, "(chain) $ \n", "")
