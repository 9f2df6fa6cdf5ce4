"""The process of the web server ends with its server, and leaves a terminal's signals to it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import pytest

for package in ("hypercorn", "starlette", "prometheus_client"):
    pytest.importorskip(package, reason="the extra `web` is not installed")

from chainsocks.protocol.address import Address  # noqa: E402  (behind the skip)
from tests.net.sockets import LOOPBACK  # noqa: E402
from tests.web.browsing import PATIENCE, fetch  # noqa: E402


@contextmanager
def process() -> Iterator[tuple[subprocess.Popen[bytes], socket.socket, Address]]:
    """Run the process; yield it, our end of its control socket, and its address."""
    (ours, theirs), (_, orders) = pairs = [socket.socketpair() for _ in range(2)]
    with ExitStack() as stack, socket.create_server((LOOPBACK, 0)) as listening:
        for sock in chain.from_iterable(pairs):
            stack.enter_context(sock)
        command = [sys.executable, "-P", "-W", "error", "-m", "chainsocks.web"]
        command += ["--control", str(theirs.fileno()), "--orders", str(orders.fileno())]
        command += ["--listen", str(listening.fileno())]
        with subprocess.Popen(
            command, pass_fds=[theirs.fileno(), orders.fileno(), listening.fileno()], stderr=subprocess.PIPE
        ) as started:
            theirs.close()
            address = Address(*listening.getsockname())
            try:
                assert fetch(address, "/page.css", "GET", {}).status == 200
                yield started, ours, address
            finally:
                started.kill()


def end_of(started: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    output = started.communicate(timeout=PATIENCE)[1]
    return started.returncode, output


def test_it_ends_with_its_server_also_while_a_page_watches() -> None:
    with process() as (started, ours, address), socket.create_connection((address.host, address.port)) as page:
        page.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert page.recv(12) == b"HTTP/1.1 200"
        ours.close()
        assert end_of(started) == (0, b"")


def test_it_ends_on_sigterm() -> None:
    with process() as (started, _, _):
        started.send_signal(signal.SIGTERM)
        assert end_of(started) == (0, b"")


def test_it_leaves_signals_of_a_terminal_to_the_server(subtests: pytest.Subtests) -> None:
    with process() as (started, ours, address):
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
            with subtests.test(number.name):
                started.send_signal(number)
                assert fetch(address, "/page.css", "GET", {}).status == 200
        ours.close()
        assert end_of(started)[0] == 0
