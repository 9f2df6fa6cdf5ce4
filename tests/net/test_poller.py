"""The poller: edges, the order of events, tasks and bulk work, and its end."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from types import SimpleNamespace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chainsocks.net import poller as poller_module
from chainsocks.net.poller import (
    ANSWERS_BEFORE_SPIN,
    END_EVENTS,
    LINGER,
    READ_EVENTS,
    SPIN,
    STEPS_BEFORE_YIELD,
    WRITE_EVENTS,
    Poller,
    open_poller,
)
from tests.net.sockets import unix_pair

Pair = tuple[socket.socket, socket.socket]


@dataclass
class Watching:
    """Has events: notes them, and does something for each."""

    act: Callable[[], object] = int
    told: list[int] = field(default_factory=list)

    def on_event(self, events: int) -> None:
        self.told.append(events)
        self.act()


def note_waits(monkeypatch: pytest.MonkeyPatch, note: Callable[[float], None]) -> None:
    """Have the next poller call `note` with the seconds that it may wait each time. It does not wait so long."""

    class Epoll:
        def __init__(self) -> None:
            epoll = select.epoll()
            self.fileno, self.register, self.close = epoll.fileno, epoll.register, epoll.close
            self._epoll = epoll

        def poll(self, timeout: float) -> list[tuple[int, int]]:
            note(timeout)
            return self._epoll.poll(0)

    monkeypatch.setattr(poller_module, "MAX_LINGER", 60)  # however slow this machine is
    monkeypatch.setattr("chainsocks.net.poller.select", SimpleNamespace(epoll=Epoll))


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = unix_pair(buffers=16384)
    with near, far:
        yield near, far


async def test_what_is_there_already_is_told_and_each_edge_once(poller: Poller, pair: Pair) -> None:
    near, far = pair
    watching = Watching()
    told = watching.told
    far.send(b"before")
    poller.register(near.fileno(), watching)
    await wait_all_tasks_blocked()
    assert len(told) == 1
    assert told[0] & READ_EVENTS
    await wait_all_tasks_blocked()
    assert len(told) == 1  # it was not read, and is not told again
    far.send(b"after")
    await wait_all_tasks_blocked()
    assert len(told) == 2


async def test_the_end_is_told_as_an_end(poller: Poller, pair: Pair) -> None:
    near, far = pair
    watching = Watching()
    poller.register(near.fileno(), watching)
    far.shutdown(socket.SHUT_WR)
    await wait_all_tasks_blocked()
    assert watching.told[-1] & END_EVENTS


async def test_writing_is_told_from_when_it_is_wanted(poller: Poller, pair: Pair) -> None:
    near, _ = pair
    watching = Watching()
    poller.register(near.fileno(), watching)
    await wait_all_tasks_blocked()
    assert watching.told == []
    poller.watch_writes(near.fileno())
    await wait_all_tasks_blocked()
    assert watching.told[-1] & WRITE_EVENTS


async def test_events_go_nowhere_when_forgotten(poller: Poller, pair: Pair) -> None:
    near, far = pair
    watching = Watching()
    poller.register(near.fileno(), watching)
    far.send(b"x")
    await wait_all_tasks_blocked()
    assert len(watching.told) == 1
    poller.forget(-1)  # a socket that is closed already
    poller.forget(10**9)
    far.send(b"x")
    await wait_all_tasks_blocked()
    assert len(watching.told) == 2
    poller.forget(near.fileno())
    far.send(b"x")
    await wait_all_tasks_blocked()
    assert len(watching.told) == 2


async def test_events_come_before_the_next_step_of_bulk_work(poller: Poller, pair: Pair) -> None:
    near, far = pair
    order: list[str] = []
    poller.register(near.fileno(), Watching(lambda: order.append("event")))

    def step() -> None:
        order.append("step")
        if order.count("step") == 2:
            far.send(b"x")
        if len(order) < 5:
            poller.enqueue(step)

    poller.enqueue(step)
    far.send(b"x")
    await wait_all_tasks_blocked()
    assert order == ["event", "step", "step", "event", "step"]


async def test_bulk_work_wakes_a_poller_that_sleeps(poller: Poller) -> None:
    await wait_all_tasks_blocked()
    done: list[str] = []
    poller.enqueue(lambda: done.append("step"))
    await wait_all_tasks_blocked()
    assert done == ["step"]


async def test_a_task_that_an_event_wakes_runs_before_further_bulk_work(poller: Poller, pair: Pair) -> None:
    near, far = pair
    order: list[str] = []
    sleeper = trio.lowlevel.current_task()

    def step() -> None:
        order.append("step")
        if len(order) == 1:
            far.send(b"wake it")
        if order.count("step") < 4:
            poller.enqueue(step)

    poller.register(near.fileno(), Watching(lambda: poller.wake(sleeper) if order else None))
    for _ in range(20):  # trio runs a batch of tasks in random order
        order.clear()
        poller.enqueue(step)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        order.append("task")
        await wait_all_tasks_blocked()
        assert order == ["step", "task", "step", "step", "step"]
        near.recv(100)


async def test_bulk_work_lets_other_tasks_run_now_and_then(poller: Poller, pair: Pair) -> None:
    near, far = pair
    poller.register(near.fileno(), Watching())
    steps = 0
    seen: list[int] = []

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps < 100 * STEPS_BEFORE_YIELD:
            poller.enqueue(step)

    poller.enqueue(step)
    far.send(b"wake it")
    while steps < 100 * STEPS_BEFORE_YIELD:
        await trio.lowlevel.checkpoint()
        seen.append(steps)
    # A batch of trio's runs each task once, in any order: between two of our turns are two of the poller's at most.
    assert max(after - before for before, after in pairwise(seen)) <= 2 * STEPS_BEFORE_YIELD


async def test_callbacks_that_have_all_the_work_let_tasks_run_now_and_then(poller: Poller, pair: Pair) -> None:
    """Two ends that answer each other, for as long as the poller does not go back to trio."""
    rounds = 0

    def answer(sock: socket.socket) -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 100_000:
            sock.send(sock.recv(1))

    for sock in pair:
        poller.register(sock.fileno(), Watching(partial(answer, sock)))
    pair[0].send(b"x")
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert rounds < 100_000
    for sock in pair:
        poller.unregister(sock.fileno())


async def test_the_poller_does_not_wait_while_there_is_bulk_work(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = pair
    waited: list[tuple[float, int]] = []
    queued = 0

    def step() -> None:
        nonlocal queued
        queued -= 1

    def callback() -> None:
        nonlocal queued
        if near.recv(1) == b"2":
            for _ in range(3):
                queued += 1
                poller.enqueue(step)
        else:
            far.send(b"2")

    note_waits(monkeypatch, lambda timeout: waited.append((timeout, queued)))
    async with open_poller() as opened:
        assert opened
        poller = opened
        poller.register(near.fileno(), Watching(callback))
        far.send(b"1")
        await wait_all_tasks_blocked()
    assert {steps for _, steps in waited} > {0, 2}
    assert any(timeout for timeout, _ in waited)
    assert not any(timeout for timeout, steps in waited if steps)


@pytest.mark.parametrize("wakes", [False, True])
async def test_after_the_last_step_the_poller_waits_for_more_unless_a_task_was_woken(
    monkeypatch: pytest.MonkeyPatch, *, wakes: bool
) -> None:
    """Bulk whose source is dry for a moment."""
    waited: list[float] = []

    note_waits(monkeypatch, waited.append)
    async with open_poller() as poller:
        assert poller
        sleeper = trio.lowlevel.current_task()
        poller.enqueue(lambda: poller.wake(sleeper) if wakes else None)
        if wakes:
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        else:
            await wait_all_tasks_blocked()
        assert waited[1:] == ([0.0] if wakes else [LINGER])


@pytest.mark.parametrize("are_messages", [True, False])
async def test_while_answers_come_quickly_the_poller_asks_and_does_not_sleep(
    monkeypatch: pytest.MonkeyPatch, pair: Pair, *, are_messages: bool
) -> None:
    """Two ends that answer each other, some microseconds later, until one does not."""
    waited: list[float] = []
    left = ANSWERS_BEFORE_SPIN + 4
    clock = count(step=SPIN / 20)

    def answer(sock: socket.socket) -> None:
        nonlocal left
        poller.passed_on += are_messages
        left -= 1
        byte = sock.recv(1)
        if left:
            sock.send(byte)

    note_waits(monkeypatch, waited.append)
    monkeypatch.setattr(poller_module, "perf_counter", lambda: next(clock))
    async with open_poller() as opened:
        assert opened
        poller = opened
        for sock in pair:
            poller.register(sock.fileno(), Watching(partial(answer, sock)))
        pair[0].send(b"x")
        await wait_all_tasks_blocked()
        first, *then = waited
        assert first == 0
        if are_messages:
            assert then[:ANSWERS_BEFORE_SPIN] == [LINGER] * ANSWERS_BEFORE_SPIN
            *asked, last = then[ANSWERS_BEFORE_SPIN:]
            assert set(asked) == {0}
            assert 10 < len(asked) < 30  # three for the answers, and SPIN for the one that does not come
            assert last == LINGER
        else:
            assert set(then) == {LINGER}
        waited.clear()
        left = 3
        pair[0].send(b"x")
        await wait_all_tasks_blocked()
        assert waited == [0, *[LINGER] * 3]  # a late answer ends it


async def test_it_runs_for_as_long_as_its_block_and_closes_what_it_opened() -> None:
    async with open_poller() as poller:
        assert poller
        pipe = poller.pipes.acquire()
        assert pipe
        poller.pipes.release(pipe)
        await wait_all_tasks_blocked()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe.reader)


def test_ctrl_c_does_not_interrupt_a_callback(pair: Pair) -> None:
    """It is raised in the main task, so no callback leaves a thing half done: here, a socket that is to be closed."""
    near, far = pair

    async def run() -> None:
        async with open_poller() as poller:
            assert poller

            def close() -> None:
                poller.close_soon(near)
                signal.raise_signal(signal.SIGINT)

            poller.register(near.fileno(), Watching(close))
            far.send(b"x")
            await trio.sleep_forever()

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(run)
    assert near.fileno() == -1


async def test_where_there_is_no_epoll_there_is_no_poller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_module, "AVAILABLE", False)
    async with open_poller() as poller:
        assert poller is None
