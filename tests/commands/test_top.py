"""`chainsocks top` on a terminal of the test's own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from chainsocks.control.messages import Request, What
from tests.background import PATIENCE, wait_until
from tests.commands import run_main
from tests.control.answering import answering
from tests.control.fleets import FakeFleet, some_sessions
from tests.e2e.programs import Process, clean_environment
from tests.e2e.spawner import OWN


class Screen:
    """A terminal, and what was written to it."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self.written = ""
        os.set_blocking(terminal, False)

    def shows(self, text: str) -> bool:
        """Whether a text is written after what was seen last."""
        try:
            self.written += os.read(self.terminal, 100_000).decode("utf-8", "replace")
        except (BlockingIOError, OSError):
            pass
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.written)
        if text in plain:
            self.written = ""
            return True
        return False

    def wait_for(self, text: str) -> None:
        wait_until(lambda: self.shows(text))

    def press(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


@contextmanager
def top(path: Path) -> Iterator[tuple[Screen, Process]]:
    ours, theirs = pty.openpty()
    screen = Screen(ours)
    screen.resize(80, 24)
    environment = clean_environment(path.parent, TERM="xterm")
    process = Process(
        [OWN, "top", "--control", str(path), "--interval", "0.1"], environment, path.parent, theirs, theirs, theirs
    )
    try:
        yield screen, process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        os.close(ours)
        os.close(theirs)


def test_it_shows_sorts_filters_and_ends() -> None:
    fleet = FakeFleet(some_sessions(500))
    with answering(fleet) as path, top(path) as (screen, process):
        screen.wait_for("1-17 of 500")
        screen.press(b"/17\r")
        screen.wait_for("with “17”")
        screen.press(b"\x1b[B")
        screen.press(b"k")
        screen.wait_for("end session")
        screen.press(b"n")
        screen.wait_for("with “17”")
        assert fleet.told == []
        screen.press(b"ky")
        wait_until(lambda: bool(fleet.told))
        assert isinstance(fleet.told[0], Request)
        assert (fleet.told[0].what, "17" in (fleet.told[0].session or "")) == (What.KILL, True)
        screen.press(b"p")
        screen.wait_for("paused")
        screen.press(b"q")
        assert process.wait(PATIENCE) == 0
        assert termios.tcgetattr(screen.terminal)[3] & termios.ECHO


def test_it_follows_the_size_of_the_terminal() -> None:
    with answering(FakeFleet(some_sessions(500))) as path, top(path) as (screen, _):
        screen.wait_for("1-17 of 500")
        screen.resize(120, 40)
        screen.wait_for("1-33 of 500")
        screen.press(b"q")


def test_it_says_so_when_the_server_ends() -> None:
    with ExitStack() as server:
        path = server.enter_context(answering(FakeFleet(some_sessions(3))))
        with top(path) as (screen, process):
            screen.wait_for("3 by rate  q:quit")
            server.close()
            screen.wait_for("trying again")
            screen.press(b"q")
            assert process.wait(PATIENCE) == 0


def test_without_a_terminal_it_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run_main(capsys, "top")
    assert status == 2
    assert "top needs a terminal" in err
