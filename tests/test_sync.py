"""Connections for code without an event loop."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

import chainsocks
from chainsocks import Address, Chain, sync
from chainsocks.bridge import thread
from tests.background import PATIENCE, Background, Script, running_background

GRANTED = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38"


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    with running_background() as background:
        yield background
    gc.collect()


@pytest.fixture(scope="module")
def chain(background: Background) -> Chain:
    return Chain(*(f"socks5://{background.proxy()}" for _ in range(3)))


@pytest.mark.parametrize("timeout", [None, 7.5])
def test_the_socket_is_blocking(background: Background, timeout: float | None) -> None:
    script = Script(b"\x05\x00", GRANTED + b"220 hello\r\n", b"221 bye\r\n")
    with sync.connect("far.example", 25, chain=Chain(f"socks5://{background.listen(script)}"), timeout=timeout) as sock:
        assert sock.gettimeout() == timeout
        assert sock.recv(5) == b"220 h"
        assert sock.recv(100) == b"ello\r\n"
        sock.sendall(b"QUIT")
        assert sock.recv(100) == b"221 bye\r\n"
    assert script.left.wait(PATIENCE)


def test_many_threads_at_once(background: Background, chain: Chain) -> None:
    address: Address = background.listen(Script(b"answer"))
    answers: list[bytes] = []

    def ask() -> None:
        with sync.connect(address.host, address.port, chain=chain, timeout=PATIENCE) as sock:
            sock.sendall(b"question")
            answers.append(sock.recv(100))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(answers) == 20


def test_errors_are_those_of_the_dial(background: Background) -> None:
    mute = Chain(f"socks5://{background.listen(Script())}")
    with pytest.raises(chainsocks.DialTimeout, match="no complete answer"):
        sync.connect("far.example", 25, chain=mute, timeout=0.1)
    with pytest.raises(ConnectionRefusedError):
        sync.connect("127.0.0.1", 1)
    with pytest.raises(ValueError, match="the chain is None"):
        sync.connect("127.0.0.1", 1, chain=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the timeout is 0"):
        sync.connect("127.0.0.1", 1, timeout=0)


def test_an_interrupt_closes_what_was_opened(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(b"\x05\x00")
    chain = Chain(f"socks5://{background.listen(script)}")

    class Interrupted(Future[object]):
        def result(self, timeout: float | None = None) -> object:
            assert script.addressed.wait(PATIENCE)
            raise KeyboardInterrupt

    monkeypatch.setattr(thread, "Future", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        sync.connect("far.example", 25, chain=chain)
    assert script.left.wait(PATIENCE)


def test_it_is_there_without_another_import() -> None:
    assert chainsocks.sync is sync
    assert "sync" in dir(chainsocks)
