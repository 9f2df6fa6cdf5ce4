"""The loop of the load: tasks, their sockets and their limits."""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Iterator

import pytest

from chainsocks.tools.bench.loop import IN, NEXT_IN, OUT, Expired, Loop, Task

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0)
        other.settimeout(0)
        yield one, other


def soon() -> float:
    return time.monotonic() + 0.05


def test_tasks_take_turns(pair: Pair) -> None:
    one, other = pair
    heard: list[bytes] = []

    def serve(loop: Loop) -> Task:
        loop.attach(one, NEXT_IN)
        one.send(b"serve")
        yield
        heard.append(one.recv(10))

    def answer(loop: Loop) -> Task:
        loop.attach(other, NEXT_IN)
        yield
        heard.append(other.recv(10))
        other.send(b"return")

    with Loop() as loop:
        loop.start(serve(loop))
        loop.start(answer(loop))
        loop.run(math.inf)
    assert heard == [b"serve", b"return"]


def test_a_task_gets_its_events(pair: Pair) -> None:
    one, other = pair
    events: list[int] = []

    def wait(loop: Loop) -> Task:
        loop.attach(one, OUT)
        events.append((yield))
        loop.expect(one, IN)
        other.send(b"x")
        events.append((yield))

    with Loop() as loop:
        loop.start(wait(loop))
        loop.run(math.inf)
    assert events == [OUT, IN]


def test_it_ends_when_it_is_time_and_can_go_on(pair: Pair) -> None:
    one, other = pair

    def wait(loop: Loop) -> Task:
        loop.attach(one, NEXT_IN)
        yield

    with Loop() as loop:
        loop.start(wait(loop))
        until = soon()
        loop.run(until)
        assert time.monotonic() >= until
        other.send(b"x")
        loop.run(math.inf)


def test_it_ends_when_stop_says_so(pair: Pair) -> None:
    one, _ = pair
    turns: list[int] = []

    def count(loop: Loop) -> Task:
        loop.attach(one, OUT)
        while True:
            turns.append((yield))

    with Loop() as loop:
        loop.start(count(loop))
        loop.run(math.inf, lambda: len(turns) == 5)
    assert len(turns) == 5


def test_what_a_task_raises_comes_out(pair: Pair) -> None:
    one, _ = pair

    def fail(loop: Loop) -> Task:
        loop.attach(one, OUT)
        yield
        raise ZeroDivisionError

    with Loop() as loop:
        loop.start(fail(loop))
        with pytest.raises(ZeroDivisionError):
            loop.run(math.inf)
    assert one.fileno() == -1, "its socket is closed"


def test_a_limit_is_raised_where_the_task_waits(pair: Pair) -> None:
    one, _ = pair
    ends: list[str] = []

    def wait(loop: Loop) -> Task:
        loop.attach(one, NEXT_IN)
        loop.allow(0.01)
        try:
            yield
        except Expired:
            ends.append("expired")
        yield  # without a limit now

    with Loop() as loop:
        loop.start(wait(loop))
        loop.run(math.inf, lambda: bool(ends))
        loop.run(soon())
    assert ends == ["expired"]


def test_a_limit_that_is_not_caught_comes_out(pair: Pair) -> None:
    one, _ = pair

    def wait(loop: Loop) -> Task:
        loop.attach(one, NEXT_IN)
        loop.allow(0)
        yield

    with Loop() as loop:
        loop.start(wait(loop))
        with pytest.raises(Expired):
            loop.run(math.inf)


def test_what_was_released_stays_open_and_wakes_no_task(pair: Pair) -> None:
    one, other = pair

    def go(loop: Loop) -> Task:
        loop.attach(one, IN)
        loop.release(one)
        yield

    with Loop() as loop:
        loop.start(go(loop))
        other.send(b"x")
        loop.run(soon())
    assert one.recv(10) == b"x"


def test_what_was_closed_is_forgotten(pair: Pair) -> None:
    """So that another socket may have its number."""
    one, other = pair
    turns: list[int] = []

    def go(loop: Loop) -> Task:
        loop.attach(one, NEXT_IN)
        loop.close(one)
        with socket.socket() as another:
            assert another.fileno() not in loop._waiting
        loop.attach(other, OUT)
        turns.append((yield))

    with Loop() as loop:
        loop.start(go(loop))
        loop.run(math.inf)
    assert turns == [OUT | select.EPOLLHUP]


def test_at_the_end_tasks_clean_up(pair: Pair) -> None:
    one, _ = pair
    cleaned: list[bool] = []

    def wait(loop: Loop) -> Task:
        loop.attach(one, NEXT_IN)
        try:
            yield
        finally:
            cleaned.append(True)

    with Loop() as loop:
        loop.start(wait(loop))
    assert cleaned
    assert one.fileno() == -1


def test_a_task_can_start_another_and_go_on(pair: Pair) -> None:
    one, other = pair
    heard: list[bytes] = []

    def listen(loop: Loop, sock: socket.socket) -> Task:
        loop.attach(sock, NEXT_IN)
        yield
        heard.append(sock.recv(10))

    def start(loop: Loop) -> Task:
        loop.start(listen(loop, other))
        loop.attach(one, OUT)
        yield
        one.send(b"x")
        loop.close(one)

    with Loop() as loop:
        loop.start(start(loop))
        loop.run(math.inf)
    assert heard == [b"x"]


def test_only_tasks_have_sockets_and_limits(pair: Pair) -> None:
    with Loop() as loop, pytest.raises(RuntimeError, match="no task is running"):
        loop.allow(1)
