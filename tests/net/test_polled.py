"""`PolledStream`: it keeps every promise of `SocketStream`, and waits through a poller."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import AsyncIterator

import pytest
import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from trio.testing import wait_all_tasks_blocked

from chainsocks.net.polled import PolledListener, PolledStream
from chainsocks.net.poller import Poller
from tests.net.sockets import read_exactly, reset, tcp_pair, unix_pair

BIG = bytes(range(256)) * 8192

Pair = tuple[PolledStream, socket.socket]


class Watching:
    """Has the events of a stream, and notes them."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def on_stream_event(self, _: PolledStream, events: int) -> None:
        self.told.append(events)


@pytest.fixture(params=[pytest.param(tcp_pair, id="tcp"), pytest.param(unix_pair, id="unix")])
async def pair(request: pytest.FixtureRequest, poller: Poller) -> AsyncIterator[Pair]:
    near, far = request.param(buffers=16384)
    stream = PolledStream(near, poller, short_read_is_all=request.param is tcp_pair)
    yield stream, far
    await stream.aclose()
    far.close()


async def test_a_receive_waits_for_data_and_for_the_end(pair: Pair, nursery: trio.Nursery) -> None:
    stream, far = pair
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await stream.receive())

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    assert got == []
    far.send(b"hello")
    await wait_all_tasks_blocked()
    assert got == [b"hello"]
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(EndOfStream):
        await stream.receive()


async def test_data_that_came_while_nobody_waited_is_not_lost(pair: Pair) -> None:
    stream, far = pair
    far.send(b"early")
    await wait_all_tasks_blocked()  # the poller has told of it, to nobody
    assert await stream.receive() == b"early"


async def test_data_that_comes_for_a_busy_task_does_not_keep_the_poller(
    pair: Pair, poller: Poller, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would linger for the next event, while the tasks of streams have work."""
    stream, far = pair
    nursery.start_soon(stream.receive)
    await wait_all_tasks_blocked()
    far.send(b"first")
    await wait_all_tasks_blocked()
    turns: list[str] = []
    monkeypatch.setattr(Poller, "let_tasks_run", lambda _: turns.append("tasks"))
    far.send(b"second")
    await wait_all_tasks_blocked()
    assert turns == ["tasks"]


@pytest.mark.usefixtures("sockets_on_mock_clock")
async def test_data_and_the_end_in_one_event(pair: Pair, nursery: trio.Nursery) -> None:
    stream, far = pair
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await stream.receive())
        with pytest.raises(EndOfStream):
            await stream.receive()

    async with trio.open_nursery() as receiving:
        receiving.start_soon(receive)
        await wait_all_tasks_blocked()
        far.send(b"last words")
        far.shutdown(socket.SHUT_WR)
    assert got == [b"last words"]


async def test_a_closed_stream_is_not_kept(poller: Poller, nursery: trio.Nursery) -> None:
    near, far = tcp_pair()
    with far:
        stream = PolledStream(near, poller)
        nursery.start_soon(stream.receive)
        await wait_all_tasks_blocked()
        far.send(b"x")
        await wait_all_tasks_blocked()
        await stream.aclose()
        kept = weakref.ref(stream)
        del stream
        gc.collect()
        assert kept() is None


async def test_a_send_waits_while_the_peer_is_slow(pair: Pair, nursery: trio.Nursery) -> None:
    stream, far = pair
    done = trio.Event()

    async def send() -> None:
        await stream.send(BIG)
        done.set()

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    assert not done.is_set()
    got = b""
    while len(got) < len(BIG):
        await trio.lowlevel.wait_readable(far)
        got += far.recv(65536)
    assert got == BIG
    await done.wait()


@pytest.mark.parametrize("pair", [tcp_pair], indirect=True, ids=["tcp"])
async def test_a_reset_is_told(pair: Pair) -> None:
    stream, far = pair
    reset(far)
    with pytest.raises(BrokenResourceError):
        await read_exactly(stream, 1)


@pytest.mark.parametrize("operation", ["receive", "send"])
async def test_closing_wakes_who_waits(pair: Pair, nursery: trio.Nursery, operation: str) -> None:
    stream, _ = pair
    woken = trio.Event()

    async def wait() -> None:
        with pytest.raises(ClosedResourceError):
            await (stream.receive() if operation == "receive" else stream.send(BIG))
        woken.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    await stream.aclose()
    await stream.aclose()
    await woken.wait()
    assert stream.closed


@pytest.mark.parametrize("operation", ["receive", "send"])
async def test_a_cancelled_wait_can_be_taken_up_again(
    pair: Pair, operation: str, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.05
    stream, far = pair
    with trio.move_on_after(1) as scope:
        await (stream.receive() if operation == "receive" else stream.send(BIG))
    assert scope.cancelled_caught
    if operation == "receive":
        far.send(b"x")
        assert await stream.receive() == b"x"


async def test_a_stream_that_is_registered_by_a_hand_over_need_not_be_tried_first(pair: Pair) -> None:
    """If there is something to read, the poller reports it at once."""
    stream, far = pair
    watching = Watching()
    far.send(b"x")
    stream.hand_over(watching)
    assert stream.dry
    await wait_all_tasks_blocked()
    assert len(watching.told) == 1
    stream.take_back()


async def test_a_listener_that_was_stopped_is_not_watched(poller: Poller) -> None:
    """It may stay open in other processes, and an epoll keeps watching a descriptor until all of them close it."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        for _ in range(2):  # what is watched cannot be registered again
            PolledListener(sock, poller).stop()


async def test_events_can_be_handed_over_and_taken_back(pair: Pair) -> None:
    stream, far = pair
    watching = Watching()
    told = watching.told
    stream.hand_over(watching)
    far.send(b"x")
    await wait_all_tasks_blocked()
    assert len(told) == 1
    stream.take_back()
    assert await stream.receive() == b"x"
    stream.hand_over(watching)
    await stream.aclose()
    assert len(told) == 2  # closed under whoever has the events
    stream.take_back()
