"""The thread in the background: one for a process, gone with it, and new in a child."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading

import pytest
import trio

import chainsocks
from chainsocks.bridge import thread
from chainsocks.bridge.thread import background
from tests.background import PATIENCE
from tests.bridge.conftest import World


def test_there_is_one() -> None:
    opened: list[object] = []
    callers = [threading.Thread(target=lambda: opened.append(background())) for _ in range(10)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert {id(each) for each in opened} == {id(background())}
    assert [each.daemon for each in threading.enumerate() if each.name == "chainsocks"] == [True]


def test_it_can_be_stopped_and_starts_anew() -> None:
    first = background()
    thread._THREADS.stop()
    thread._THREADS.stop()
    assert not [each for each in threading.enumerate() if each.name == "chainsocks"]
    assert background() is not first


def read_to_end(sock: socket.socket) -> None:
    while sock.recv(100):
        pass


def test_relays_end_with_it(world: World) -> None:
    kept, closed = (
        chainsocks.sync.connect(world.echo.host, world.echo.port, chain=world.secured, timeout=PATIENCE)
        for _ in range(2)
    )
    closed.close()
    with kept:
        kept.sendall(b"last words")
        thread._THREADS.stop()
        assert not [each for each in threading.enumerate() if each.name == "chainsocks"]
        with pytest.raises(ConnectionError):  # what came down is not complete
            read_to_end(kept)


def test_a_thread_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    thread._THREADS.stop()

    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(trio, "run", fail)
    with pytest.raises(OSError, match="Too many open files"):
        background()
    monkeypatch.undo()
    assert background()


PROGRAM = """
import os, sys, warnings
import chainsocks
warnings.simplefilter("error")
hops, (host, port, ca) = sys.argv[1:4], sys.argv[4:7]
second = chainsocks.Hop("osaka", "socks5", hops[1], tls=chainsocks.Tls("paris.example", ca))
chain = chainsocks.Chain(hops[0], second, hops[2])
"""


def run_program(world: World, ca: str, body: str) -> subprocess.CompletedProcess[str]:
    first, second, third = world.secured.hops
    hops = [f"socks5://{first.name}", str(getattr(second, "address", "")), f"socks5://{third.name}"]
    words = [sys.executable, "-c", PROGRAM + textwrap.dedent(body), *hops, world.echo.host, str(world.echo.port), ca]
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE * 3, check=False)


def test_what_was_sent_at_the_very_end_arrives(world: World, ca: str) -> None:
    """The socket is not even closed when the process ends."""
    heard: list[bytes] = []
    ended = threading.Event()

    async def listen(stream: object) -> None:
        data = b""
        while more := await stream.receive_some():  # type: ignore[attr-defined]
            data += more
        heard.append(data)
        ended.set()

    address = world.background.listen(listen)
    body = f"""
        sock = chainsocks.sync.connect("{address.host}", {address.port}, chain=chain)
        sock.sendall(b"x" * 1_000_000 + b"last words")
    """
    done = run_program(world, ca, body)
    assert (done.returncode, done.stdout) == (0, "")
    assert ended.wait(PATIENCE)
    assert heard[0].endswith(b"last words")
    assert len(heard[0]) == 1_000_010


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_has_a_thread_of_its_own(world: World, ca: str) -> None:
    body = """
        def hello():
            with chainsocks.sync.connect(host, port, chain=chain) as sock:
                os.write(1, f"{os.getpid() == me} {sock.recv(100)}\\n".encode())  # in one piece

        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12, of a fork beside threads
        me = os.getpid()
        hello()
        child = os.fork()
        hello()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            hello()
    """
    done = run_program(world, ca, body)
    assert (done.returncode, done.stderr) == (0, "")
    hello = r"b'220 hello\r\n'"
    assert sorted(done.stdout.splitlines()) == sorted([f"True {hello}"] * 3 + [f"False {hello}"])
