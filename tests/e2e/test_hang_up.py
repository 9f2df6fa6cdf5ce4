"""Signals sent to the server as users start it: without a meaning, and during the start; and a terminal that goes."""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pytest

from tests.background import wait_until
from tests.e2e.programs import Program, SocketAddress, clean_environment
from tests.e2e.servers import chainsocks
from tests.e2e.wire import connected, read


@pytest.mark.parametrize("workers", [1, 2])
def test_other_signals_end_no_session(echo: SocketAddress, workers: int) -> None:
    """Not even if they go to the workers as well."""
    with chainsocks(workers=workers) as server, connected(server.address, echo) as sock:
        for number in (signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF):
            os.killpg(server.process.pid, number)
            server.wait_for(f"WARNING {number.name} is ignored: ")
        for number in (signal.SIGPIPE, signal.SIGWINCH, signal.SIGCONT):
            os.killpg(server.process.pid, number)
        sock.sendall(b"data")
        assert read(sock, 4) == b"data"
    assert server.said.count(" is ignored: ") == 4


@contextmanager
def awaited(pipe: Path) -> Iterator[TextIO]:
    """A named pipe for writing, once it is being read; what reads it goes on at the end."""
    writing: list[int] = []

    def is_read() -> bool:
        with suppress(OSError):
            writing.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writing)

    wait_until(is_read)
    with os.fdopen(writing[0], "w") as file:
        yield file


@pytest.mark.parametrize("workers", [1, 2])
def test_signals_that_come_during_the_start_are_acted_on_after_it(tmp_path: Path, workers: int) -> None:
    """The start waits for its file until they have come, and so does the reload."""
    file = tmp_path / "c.toml"
    text = f"[server]\nlisten = ['127.0.0.1:0']\nworkers = {workers}\n[control]\nsocket = 'off'\n"
    os.mkfifo(file, 0o600)
    command = [sys.executable, "-m", "chainsocks", "serve", "-c", str(file)]
    program = Program(command, clean_environment(tmp_path))
    with awaited(file) as start:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM):
            program.process.send_signal(number)
        start.write(text)
    program.wait_for("reading the configuration again")
    with awaited(file) as reload:
        reload.write(text)
    program.wait_for("INFO reloaded: ")
    program.wait_for(" state: ", times=workers)
    program.wait_for("WARNING SIGALRM is ignored: ")
    assert program.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_terminal_that_goes_away_stops_the_server(workers: int) -> None:
    log, writing = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup(1)
        os.dup2(writing, 2)
        script = "import sys; from chainsocks.cli import main; main()"
        arguments = ["serve", "--listen", "127.0.0.1:0", "--workers", str(workers)]
        os.execv(sys.executable, [sys.executable, "-c", script, *arguments])
    os.close(writing)
    said = b""
    while b"listening on" not in said:
        said += os.read(log, 4096)
    os.close(terminal)
    while more := os.read(log, 4096):
        said += more
    os.close(log)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert said.count(b"INFO SIGHUP: no new connections") == 1
    assert said.endswith(b"INFO stopped\n")
