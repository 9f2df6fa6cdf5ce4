"""Sending from memory, and discarding in the kernel."""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Iterator

import pytest

from chainsocks.tools.bench.flow import CHUNK, WORTH_WAKING, Flow
from chainsocks.tools.bench.loop import IN, Loop, Task

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def flow() -> Iterator[Flow]:
    flow = Flow()
    yield flow
    flow.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a TCP connection; neither blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as one:
        other, _ = listener.accept()
        with other:
            one.settimeout(0)
            other.settimeout(0)
            yield one, other


def readable(sock: socket.socket, seconds: float) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


def discard_all(flow: Flow, sock: socket.socket, expected: int) -> int:
    """Discard until so much has come, or nothing more does."""
    total = 0
    while total < expected and readable(sock, 20):
        size = flow.discard(sock)
        assert size
        total += size
    return total


def test_all_that_is_sent_arrives(flow: Flow, pair: Pair) -> None:
    one, other = pair
    sent = flow.send(one)
    assert 0 < sent <= CHUNK
    assert discard_all(flow, other, sent) == sent


def test_a_full_connection_takes_nothing(flow: Flow, pair: Pair) -> None:
    one, other = pair
    sent = 0
    while size := flow.send(one):
        sent += size
    assert flow.send(one) == 0
    assert discard_all(flow, other, sent) == sent


def test_nothing_now_is_not_the_end(flow: Flow, pair: Pair) -> None:
    one, other = pair
    assert flow.discard(other) is None
    one.close()
    assert readable(other, 20)
    assert flow.discard(other) == 0


def test_what_is_discarded_leaves_no_trace(flow: Flow, pair: Pair) -> None:
    """It was not copied: the memory that it is said to be in has not changed."""
    one, other = pair
    one.send(b"\xff" * 1000)
    assert readable(other, 20)
    assert flow.discard(other) == 1000
    assert flow._room[:1000] == bytes(1000)


class Counted:
    """What a stream counts, each call by itself."""

    def __init__(
        self, flow: Flow, sock: socket.socket, *, sends: bool, receives: bool, every: float = math.inf
    ) -> None:
        self.sent: list[int] = []
        self.received: list[int] = []
        self.ended = False
        self._flow = flow
        self._sock = sock
        self._sent = self.sent.append if sends else None
        self._received = self.received.append if receives else None
        self._every = every

    def run(self, loop: Loop) -> Task:
        loop.attach(self._sock, IN)
        sent, received, every = self._sent, self._received, self._every
        try:
            yield from self._flow.stream(self._sock, loop, sent=sent, received=received, every=every)
            self.ended = True
        except BrokenPipeError:
            pass  # the test has shut it down


@pytest.mark.parametrize("both", [False, True])
def test_a_stream_goes_on_until_the_peer_ends_it(flow: Flow, pair: Pair, *, both: bool) -> None:
    one = Counted(flow, pair[0], sends=True, receives=both)
    other = Counted(flow, pair[1], sends=both, receives=True)
    with Loop() as loop:
        loop.start(one.run(loop))
        loop.start(other.run(loop))
        loop.run(math.inf, lambda: sum(other.received) > CHUNK and (not both or sum(one.received) > CHUNK))
        pair[0].shutdown(socket.SHUT_WR)
        loop.run(math.inf, lambda: other.ended)
    assert sum(other.received) <= sum(one.sent)
    assert bool(one.received) == bool(other.sent) == both


def test_a_few_bytes_are_no_event_and_are_counted_all_the_same(flow: Flow, pair: Pair) -> None:
    counted = Counted(flow, pair[1], sends=False, receives=True, every=0.01)
    with Loop() as loop:
        loop.start(counted.run(loop))
        pair[0].send(b"x" * 100)
        assert not readable(pair[1], 0.05)
        loop.run(math.inf, lambda: sum(counted.received) > 0)
    assert sum(counted.received) == 100


@pytest.mark.parametrize("size", [0, WORTH_WAKING])
def test_many_bytes_are_an_event_and_so_is_the_end(flow: Flow, pair: Pair, size: int) -> None:
    counted = Counted(flow, pair[1], sends=False, receives=True)
    sent = 0
    while sent < size:
        sent += flow.send(pair[0])
    pair[0].close()
    with Loop() as loop:
        loop.start(counted.run(loop))
        loop.run(math.inf)
    assert counted.ended
    assert sum(counted.received) == sent


def test_a_broken_connection_is_an_error(flow: Flow, pair: Pair) -> None:
    one, other = pair
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()
    assert readable(other, 20)
    with pytest.raises(ConnectionResetError):
        flow.discard(other)
    with pytest.raises(BrokenPipeError):
        flow.send(other)
