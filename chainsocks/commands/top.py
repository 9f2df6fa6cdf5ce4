"""`chainsocks top`: the running server, live."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from chainsocks.commands.running import ask_server
from chainsocks.control.client import ControlClient, NotRunningError
from chainsocks.control.messages import ControlError, Count, Request, What
from chainsocks.control.wire import from_document
from chainsocks.tools.top.keys import Action, press, read_keys
from chainsocks.tools.top.picture import draw
from chainsocks.tools.top.view import Snapshot, View

__all__ = ["top"]

REDRAW = 0.25
"""Seconds between two looks at the size of the terminal, and until the picture of a key that was pressed."""

SHARE = 10
"""Pauses are at least as many times as long as the snapshot took: a large server is asked less often."""


def top(*, path: Path | None, control: Path | None, interval: float) -> None:
    """Show the server until the user quits.

    Raises:
        UsageError: there is no terminal.
        NotRunningError: no server is there at the start.
    """
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("top needs a terminal; `chainsocks status` and `chainsocks sessions` print once")
    console = Console(highlight=False, markup=False, emoji=False)
    with (
        ask_server(path, control) as client,
        _raw_keys(),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        _Program(client, console, live, interval).run()


class _Program:
    def __init__(self, client: ControlClient, console: Console, live: Live, interval: float) -> None:
        self._client: ControlClient | None = client
        self._places = [client.path]
        self._console = console
        self._live = live
        self._interval = interval
        self._view = View()
        self._due = 0.0

    def run(self) -> None:
        size = self._console.size
        while True:
            if time.monotonic() >= self._due:
                self._look()
            self._draw()
            while not (ready := _is_ready(min(REDRAW, max(0, self._due - time.monotonic())))):
                if time.monotonic() >= self._due or self._console.size != size:
                    break
            size = self._console.size
            if ready and not self._press():
                return

    def _look(self) -> None:
        """Ask the server for a snapshot."""
        began = time.monotonic()
        view = self._view
        try:
            if self._client is None:
                self._client = ControlClient(self._places)
                view.message = ""
            if not view.is_paused:
                client = self._client
                view.show(Snapshot(began, client.status(), client.hops(), client.sessions()))
        except (ControlError, NotRunningError) as error:
            self._lose(str(error))
        now = time.monotonic()
        self._due = now + max(self._interval, SHARE * (now - began))

    def _lose(self, why: str) -> None:
        if self._client:
            self._client.close()
        self._client = None
        self._view.message = f"{why}; trying again"

    def _draw(self) -> None:
        width, height = self._console.size
        self._live.update(Text("\n", no_wrap=True, overflow="crop").join(draw(self._view, width, height)), refresh=True)

    def _press(self) -> bool:
        """Handle the keys that were pressed; return whether to go on."""
        data = os.read(sys.stdin.fileno(), 1024)
        for key in read_keys(data):
            match press(self._view, key):
                case Action.QUIT:
                    return False
                case Action.KILL:
                    self._kill(self._view.chosen)
        return bool(data)

    def _kill(self, session: str) -> None:
        if self._client is None:
            return
        try:
            [answer] = self._client.ask(Request(what=What.KILL, session=session))
            count = from_document(Count, answer.document).count
        except ControlError as error:
            self._lose(str(error))
            return
        self._view.message = f"session {session} was ended" if count else f"session {session} has ended by itself"
        self._due = 0


@contextmanager
def _raw_keys() -> Iterator[None]:
    """Have keys arrive as they are pressed, without an echo."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_ready(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])
