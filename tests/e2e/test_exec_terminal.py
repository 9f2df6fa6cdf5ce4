"""`chainsocks exec` in an interactive shell: what is typed reaches the command, and the shell controls it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import CHAINSOCKS
from tests.e2e.programs import PATIENCE, clean_environment, find_program
from tests.namespaces_of_users import needs_namespaces

RUN = f"{CHAINSOCKS} exec --hop socks5://127.0.0.1:1 --"


class Shell:
    """An interactive shell in a terminal."""

    def __init__(self, folder: Path) -> None:
        needs_namespaces()
        command = [find_program("setsid", "util-linux"), "--ctty", find_program("bash", "bash"), "--norc", "-i"]
        self.terminal, theirs = pty.openpty()
        environment = clean_environment(folder, PS1="$ ", TERM="dumb")
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder
        )
        os.close(theirs)
        self.said = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def type_until_answered(self, line: str) -> None:
        """Type a line for a command that repeats it; what is typed while bash changes the terminal may be lost."""
        for _ in range(40):
            self.type(f"{line}\n")
            try:
                self.wait_for(f"{line}\r\n{line}\r\n", PATIENCE / 40)
            except AssertionError:
                continue
            return
        raise AssertionError(self.said)

    def wait_for(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Wait for what matches, and forget all up to its end."""
        deadline = time.monotonic() + patience
        while not (match := re.search(pattern, self.said)):
            left = deadline - time.monotonic()
            assert left > 0, self.said
            if select.select([self.terminal], [], [], left)[0]:
                self.said += os.read(self.terminal, 65536).decode()
        self.said = self.said[match.end() :]
        return match


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    try:
        yield shell
    finally:
        os.close(shell.terminal)  # hangs up
        shell.process.wait(PATIENCE)


def test_the_shell_controls_the_command(shell: Shell) -> None:
    shell.type(f"{RUN} sh -c 'echo it \"runs\"; exec cat'\n")
    shell.wait_for("it runs")
    shell.type("to the command\n")
    shell.wait_for("to the command\r\nto the command\r\n")
    shell.type("\x1a")  # Ctrl-Z
    shell.wait_for("Stopped")
    shell.type("echo status $?; jobs\n")
    shell.wait_for("status 148")
    shell.wait_for("Stopped")
    shell.type("fg\n")
    shell.wait_for("exec cat'\r\n")
    shell.type_until_answered("again")
    shell.type("\x03")  # Ctrl-C
    shell.wait_for(r"\$ ")
    shell.type("echo status $?\n")
    shell.wait_for("status 130")


def test_the_command_has_the_window_and_its_changes(shell: Shell) -> None:
    shell.resize(33, 91)
    shell.type(f"{RUN} sh -c 'stty size; read line; stty size; exit 7'\n")
    shell.wait_for("33 91")
    shell.resize(34, 92)
    shell.type("\n")
    shell.wait_for("34 92")
    shell.type("echo status $?\n")
    shell.wait_for("status 7")
