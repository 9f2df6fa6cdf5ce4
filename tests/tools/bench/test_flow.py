"""Sending from memory, and discarding in the kernel."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from chainsocks.tools.bench.flow import CHUNK, WORTH_WAKING, Flow

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


def test_a_little_wakes_nobody_and_can_be_had(flow: Flow, pair: Pair) -> None:
    one, other = pair
    flow.receive_in_bulk(other)
    one.send(b"x" * 100)
    assert not readable(other, 0.05)
    assert flow.discard(other) == 100


@pytest.mark.parametrize("size", [0, WORTH_WAKING])
def test_much_does_and_so_does_the_end(flow: Flow, pair: Pair, size: int) -> None:
    one, other = pair
    flow.receive_in_bulk(other)
    sent = 0
    while sent < size:
        sent += flow.send(one)
    one.close()
    assert discard_all(flow, other, sent) == sent
    assert readable(other, 20)
    assert flow.discard(other) == 0


def test_a_broken_connection_is_an_error(flow: Flow, pair: Pair) -> None:
    one, other = pair
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()
    assert readable(other, 20)
    with pytest.raises(ConnectionResetError):
        flow.discard(other)
    with pytest.raises(BrokenPipeError):
        flow.send(other)
