"""Signals without a meaning, sent to the server as users start it; and a terminal that goes away."""

from __future__ import annotations

import os
import pty
import signal
import sys

import pytest

from tests.e2e.programs import SocketAddress
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
