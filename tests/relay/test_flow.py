"""What only flows do: splice or copy, hold pipes, take turns, see a reset that a send has used up.

The rest is in `test_pump.py`.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from trio.testing import wait_all_tasks_blocked

from chainsocks.net.pipes import Pipes
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.observe.record import Traffic
from chainsocks.relay.flow import STEP, Left, copy_little
from chainsocks.relay.polled_relay import relay_between
from chainsocks.relay.pump import CHUNK, End
from chainsocks.relay.relay import Outcome, Relay
from tests.net.sockets import read_all, read_exactly, tcp_pair
from tests.relay.ways import Direction, Line, Relaying, digest, flow, noise, polled_line, polled_unix_line

TCP_REPAIR = 19
"""A socket in this mode is closed without a word to its peer."""

SEVERAL_MIB = 5 * 1024 * 1024 + 1
Splice = Callable[..., int]


@dataclass
class Flowing:
    """A flow at work, and how often the kernel was asked to splice."""

    source: Line
    sink: Line
    poller: Poller
    nursery: trio.Nursery
    splices: list[int] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)

    def start(self, early_data: bytes = b"") -> None:
        async def run() -> None:
            self.ends.append(await flow(self.source.near, self.sink.near, early_data, lambda _: None))
            self.ended.set()

        self.nursery.start_soon(run)

    async def carry(self, data: bytes) -> bytes:
        """Send `data` and the end; return what arrives."""

        async def say() -> None:
            await self.source.far.send(data)
            await self.source.far.send_eof()

        self.nursery.start_soon(say)
        return await read_all(self.sink.far)

    async def pour(self) -> None:
        """Send more than anybody holds, for as long as it is taken."""
        with suppress(BrokenResourceError, ClosedResourceError):
            await self.source.far.send(noise(SEVERAL_MIB))

    async def drain(self) -> None:
        """Take what still comes."""
        with suppress(BrokenResourceError, ClosedResourceError, EndOfStream):
            while True:
                await self.sink.far.receive()


@pytest.fixture
async def flowing(nursery: trio.Nursery, poller: Poller, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Flowing]:
    with polled_line(poller) as source, polled_line(poller) as sink:
        flowing = Flowing(source, sink, poller, nursery)
        splice = os.splice

        def count(*arguments: int, **options: int) -> int:
            moved = splice(*arguments, **options)
            flowing.splices.append(moved)
            return moved

        monkeypatch.setattr("chainsocks.relay.flow.os.splice", count)
        yield flowing


async def test_small_data_is_copied(flowing: Flowing) -> None:
    flowing.start()
    for size in (1, 100, CHUNK // 2):
        data = noise(size)
        await flowing.source.far.send(data)
        assert await read_exactly(flowing.sink.far, size) == data
    assert flowing.splices == []


async def test_much_data_is_spliced_in_bounded_pieces(flowing: Flowing) -> None:
    data = noise(SEVERAL_MIB)
    flowing.start()
    assert digest(await flowing.carry(data)) == digest(data)
    assert sum(flowing.splices) > SEVERAL_MIB  # into the pipe and out of it
    assert max(flowing.splices) <= STEP


async def test_it_copies_again_when_the_data_gets_small(flowing: Flowing) -> None:
    flowing.start()
    await flowing.source.far.send(noise(3 * CHUNK))
    await read_exactly(flowing.sink.far, 3 * CHUNK)
    for _ in range(4):
        await flowing.source.far.send(b"small")
        await read_exactly(flowing.sink.far, 5)
        await wait_all_tasks_blocked()
    before = len(flowing.splices)
    await flowing.source.far.send(b"small")
    await read_exactly(flowing.sink.far, 5)
    assert len(flowing.splices) == before


async def test_a_pipe_is_given_back_when_there_is_nothing_to_move(flowing: Flowing) -> None:
    flowing.start()
    await flowing.source.far.send(noise(8 * CHUNK))
    await read_exactly(flowing.sink.far, 8 * CHUNK)
    await wait_all_tasks_blocked()
    assert len(flowing.poller.pipes._free) == flowing.poller.pipes._open > 0


async def test_without_pipes_it_copies(flowing: Flowing) -> None:
    flowing.poller.pipes = Pipes(max_open=0)
    data = noise(SEVERAL_MIB)
    flowing.start()
    assert digest(await flowing.carry(data)) == digest(data)
    assert flowing.splices == []


@pytest.mark.parametrize("refused", [0, 1], ids=["into the pipe", "out of the pipe"])
async def test_sockets_that_do_not_splice_are_copied(
    flowing: Flowing, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    splice = os.splice
    calls = 0

    def refuse(*arguments: int, **options: int) -> int:
        nonlocal calls
        calls += 1
        if calls > refused:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return splice(*arguments, **options)

    monkeypatch.setattr("chainsocks.relay.flow.os.splice", refuse)
    data = noise(SEVERAL_MIB)
    flowing.start()
    assert digest(await flowing.carry(data)) == digest(data)
    assert calls == refused + 1


async def test_a_pipe_with_bytes_of_a_broken_transfer_is_not_used_again(flowing: Flowing) -> None:
    flowing.start()
    flowing.nursery.start_soon(flowing.pour)
    await wait_all_tasks_blocked()  # nobody reads: the pipe is full
    flowing.sink.reset()
    await wait_all_tasks_blocked()
    assert flowing.ends == [End.SINK_BROKEN]
    assert flowing.poller.pipes._free == []
    assert flowing.poller.pipes._open == 0


async def test_a_source_that_breaks_in_the_middle_of_a_transfer(flowing: Flowing) -> None:
    flowing.start()
    flowing.nursery.start_soon(flowing.pour)
    await read_exactly(flowing.sink.far, 4 * CHUNK)
    flowing.source.reset()
    flowing.nursery.start_soon(flowing.drain)
    await flowing.ended.wait()
    assert flowing.ends == [End.SOURCE_BROKEN]


async def test_bytes_that_a_sink_takes_in_parts_are_not_lost(flowing: Flowing, monkeypatch: pytest.MonkeyPatch) -> None:
    splice, sink = os.splice, flowing.sink.near
    assert isinstance(sink, PolledStream)

    def take_a_part(source: int, destination: int, size: int, **options: int) -> int:
        return splice(source, destination, max(1, size - 1) if destination == sink.socket.fileno() else size, **options)

    monkeypatch.setattr("chainsocks.relay.flow.os.splice", take_a_part)
    flowing.start()
    for size in (3 * CHUNK, 5, 5, 5, 5):  # the last ones are small, and end the bulk transfer
        data = noise(size)
        await flowing.source.far.send(data)
        assert await read_exactly(flowing.sink.far, size) == data
        await wait_all_tasks_blocked()


async def test_an_end_that_cannot_be_passed_on(flowing: Flowing) -> None:
    flowing.start()
    await wait_all_tasks_blocked()
    flowing.sink.reset()
    await wait_all_tasks_blocked()
    await flowing.source.far.send_eof()
    await flowing.ended.wait()
    assert flowing.ends == [End.SINK_BROKEN]


async def test_a_short_read_of_a_unix_socket_does_not_end_the_reading(poller: Poller, nursery: trio.Nursery) -> None:
    """The kernel ends a read behind a message that carries descriptors; there is no second event for the next one."""
    with polled_unix_line(poller) as source, polled_line(poller) as sink:
        assert isinstance(source.far, SocketStream)
        nursery.start_soon(flow, source.near, sink.near, b"", lambda _: None)
        await wait_all_tasks_blocked()
        socket.send_fds(source.far.socket, [b"one"], [source.far.socket.fileno()])
        await source.far.send(b"two")
        assert await read_exactly(sink.far, 6) == b"onetwo"
        nursery.cancel_scope.cancel()


# --- taking turns


class Endless:
    """A socket that always has as much as is asked for, up to a limit, or always takes everything."""

    def __init__(self, sock: socket.socket, left: int = 0) -> None:
        self._sock = sock
        self.left = left
        self.family = socket.AF_UNIX
        self.fileno = sock.fileno
        self.shutdown = sock.shutdown
        self.close = sock.close

    def recv(self, size: int) -> bytes:
        taken = min(size, self.left)
        self.left -= taken
        return bytes(taken)

    def send(self, data: bytes) -> int:
        return len(data)


@pytest.mark.parametrize("splicing", [False, True], ids=["copying", "splicing"])
async def test_a_bulk_flow_lets_others_finish_before_it(
    poller: Poller,
    monkeypatch: pytest.MonkeyPatch,
    splicing: bool,  # noqa: FBT001
) -> None:
    with ExitStack() as lines:
        sources = [lines.enter_context(polled_line(poller)) for _ in range(2)]
        sinks = [lines.enter_context(polled_line(poller)) for _ in range(2)]
        sockets: dict[int, Endless] = {}
        for line, size in zip([*sources, *sinks], [64 * STEP, 2 * STEP, 0, 0], strict=True):
            stream = line.near
            assert isinstance(stream, PolledStream)
            sockets[stream.socket.fileno()] = Endless(stream.socket, size)
            monkeypatch.setattr(stream, "socket", sockets[stream.socket.fileno()])

        def splice(source: int, _: int, size: int, **__: int) -> int:
            return len(sockets[source].recv(size)) if source in sockets else size

        monkeypatch.setattr("chainsocks.relay.flow.os.splice", splice)
        monkeypatch.setattr("chainsocks.relay.flow.SPLICE_AVAILABLE", splicing)
        finished: list[int] = []

        async def run(number: int) -> None:
            await sources[number].far.send(b"x")  # an event, so that it begins to read
            assert await flow(sources[number].near, sinks[number].near, b"", lambda _: None) is End.FINISHED
            finished.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, 0)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(run, 1)
        assert finished == [1, 0]


# --- a reset that only a send has seen


@pytest.mark.parametrize("early_data", [b"", b"early"])
async def test_an_end_after_a_send_has_seen_a_reset_is_no_regular_end(flowing: Flowing, early_data: bytes) -> None:
    """The kernel reports a reset once; after that, a read finds a regular end."""
    near = flowing.source.near
    assert isinstance(near, PolledStream)
    flowing.source.reset()
    with pytest.raises(BrokenResourceError):
        near.send_nowait(b"x")
    flowing.start(early_data)
    await flowing.ended.wait()
    assert flowing.ends == [End.SOURCE_BROKEN]


async def test_an_end_after_a_send_has_seen_a_reset_is_no_regular_end_of_a_bulk_flow(flowing: Flowing) -> None:
    near = flowing.source.near
    assert isinstance(near, PolledStream)
    flowing.start()
    await flowing.source.far.send(noise(3 * CHUNK))
    await read_exactly(flowing.sink.far, 3 * CHUNK)
    await wait_all_tasks_blocked()
    assert flowing.splices
    flowing.source.reset()
    with pytest.raises(BrokenResourceError):
        near.send_nowait(b"x")
    await flowing.ended.wait()
    assert flowing.ends == [End.SOURCE_BROKEN]


async def expect_a_reset_of_upstream(relay: Relay[Any], upstream: Line) -> None:
    """See that a client's reset does not look like the regular end of what it has sent."""
    with trio.CancelScope() as scope:
        await relay.run(scope)
    assert relay.outcome is Outcome.CLIENT_BROKEN
    await upstream.near.aclose()
    with pytest.raises(BrokenResourceError):
        await upstream.far.receive()


async def test_the_other_direction_notes_a_reset_that_its_send_has_seen(poller: Poller) -> None:
    with polled_line(poller) as client, polled_line(poller) as upstream:
        relay = relay_between(client.near, upstream.near, Traffic(), idle=math.inf, half_close=math.inf)

        async def reset_while_there_is_something_to_send() -> None:
            await wait_all_tasks_blocked()
            await upstream.far.send(b"x")  # this event comes first, and finds the client reset already
            client.reset()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reset_while_there_is_something_to_send)
            await expect_a_reset_of_upstream(relay, upstream)


async def test_the_other_direction_notes_a_reset_that_its_splice_has_seen(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with polled_line(poller) as client, polled_line(poller) as upstream:
        assert isinstance(client.near, PolledStream)
        relay = relay_between(client.near, upstream.near, Traffic(), idle=math.inf, half_close=math.inf)
        splice, sink = os.splice, client.near.socket.fileno()

        def reset_first(source: int, destination: int, size: int, **options: int) -> int:
            if destination == sink:
                client.reset()
            return splice(source, destination, size, **options)

        monkeypatch.setattr("chainsocks.relay.flow.os.splice", reset_first)

        async def send_much() -> None:
            with suppress(BrokenResourceError):
                await upstream.far.send(noise(SEVERAL_MIB))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_much)
            nursery.start_soon(read_exactly, client.far, CHUNK)
            await expect_a_reset_of_upstream(relay, upstream)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("finished", "outcome"), [(False, End.SOURCE_BROKEN), (True, End.FINISHED)])
async def test_the_other_direction_notes_a_reset_that_its_splice_has_used_up(
    flowing: Flowing, monkeypatch: pytest.MonkeyPatch, *, finished: bool, outcome: End
) -> None:
    """splice(2) returns what it wrote before the reset, and the kernel reports that no more.

    The peer's side ends with the reset, unless the peer has finished it before.
    """
    upstream, client = flowing.source, flowing.sink
    assert isinstance(client.near, PolledStream)
    splice, sink = os.splice, client.near.socket

    def reset_amid(source: int, destination: int, size: int, **options: int) -> int:
        sent = splice(source, destination, min(size, CHUNK) if destination == sink.fileno() else size, **options)
        if destination == sink.fileno():
            client.reset()
            with pytest.raises(ConnectionError):
                sink.send(b"x")
        return sent

    await client.far.send(b"said before")
    if finished:
        await client.far.send_eof()
    await upstream.far.send(noise(3 * CHUNK))
    monkeypatch.setattr("chainsocks.relay.flow.os.splice", reset_amid)
    flowing.start()
    await flowing.ended.wait()
    assert flowing.ends == [End.SINK_BROKEN]
    assert await flow(client.near, upstream.near, b"", lambda _: None) is outcome
    assert await read_exactly(upstream.far, 11) == b"said before"


def test_the_kernel_does_not_report_a_reset_amid_a_splice() -> None:
    """The peer vanishes without a word, and answers the first of several writes with a reset."""
    near, far = tcp_pair(buffers=1 << 20)
    pipe = Pipes().acquire()
    assert pipe
    with near, far:
        try:
            far.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except PermissionError:
            pytest.skip("TCP_REPAIR takes CAP_NET_ADMIN")
        far.close()
        for _ in range(40):
            os.write(pipe.writer, bytes(4096))
        assert 0 < os.splice(pipe.reader, near.fileno(), 40 * 4096, flags=os.SPLICE_F_NONBLOCK) < 40 * 4096
        stream = SocketStream(near)
        assert near.recv(1) == b""
        assert not stream.ended_by_reset()
        stream.note_short_splice()
        assert stream.ended_by_reset()
    pipe.close()


@pytest.mark.parametrize("first", Direction)
async def test_the_side_that_was_reset_first_is_the_one_that_is_named(poller: Poller, first: Direction) -> None:
    """Both resets come in one batch of events."""
    with polled_line(poller) as client, polled_line(poller) as upstream:
        running = Relaying(client, upstream)
        relay = relay_between(client.near, upstream.near, Traffic(), idle=math.inf, half_close=math.inf)

        async def reset_both() -> None:
            await wait_all_tasks_blocked()
            first.source(running).reset()
            first.sink(running).reset()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reset_both)
            with trio.CancelScope() as scope:
                await relay.run(scope)
        assert relay.outcome is first.source_broken


# --- without a flow


async def test_what_is_little_is_copied_without_a_flow(poller: Poller) -> None:
    with polled_line(poller) as client, polled_line(poller) as upstream:
        source, sink = client.near, upstream.near
        assert isinstance(source, PolledStream)
        assert isinstance(sink, PolledStream)
        assert copy_little(source, sink) == 0
        await client.far.send(b"little")
        assert copy_little(source, sink) == 6
        assert await read_exactly(upstream.far, 6) == b"little"

        await client.far.send(much := noise(CHUNK))
        assert copy_little(source, sink) == Left(0, much)

        while sink.send_nowait(noise(CHUNK)):
            pass
        await client.far.send(b"rest")
        left = copy_little(source, sink)
        assert isinstance(left, Left)
        assert (left.moved, bytes(left.rest)) == (0, b"rest")

        await client.far.send_eof()
        assert copy_little(source, sink) is End.FINISHED


@pytest.mark.parametrize("broken", ["source", "sink"])
async def test_what_breaks_without_a_flow_is_reported(poller: Poller, broken: str) -> None:
    with polled_line(poller) as client, polled_line(poller) as upstream:
        source, sink = client.near, upstream.near
        assert isinstance(source, PolledStream)
        assert isinstance(sink, PolledStream)
        await client.far.send(b"lost")
        if broken == "source":
            assert copy_little(source, sink) == 4
            client.reset()
            assert copy_little(source, sink) is End.SOURCE_BROKEN
        else:
            upstream.reset()
            assert copy_little(source, sink) is End.SINK_BROKEN
            assert sink.was_reset


async def test_a_flow_goes_on_with_what_is_left(poller: Poller) -> None:
    """A sink that took a part only: it gets the rest, and all of it is counted."""
    with polled_line(poller) as client, polled_line(poller) as upstream:
        relay = relay_between(client.near, upstream.near, traffic := Traffic(), idle=math.inf, half_close=math.inf)
        assert isinstance(upstream.near, PolledStream)
        send = upstream.near.socket.send

        class Partial:
            """A socket whose first send takes two bytes."""

            def __init__(self, sock: socket.socket) -> None:
                self.sends = 0
                self.sock = sock

            def send(self, data: bytes) -> int:
                self.sends += 1
                return send(data[:2] if self.sends == 1 else data)

            def __getattr__(self, name: str) -> object:
                return getattr(self.sock, name)

        upstream.near.socket = Partial(upstream.near.socket)  # type: ignore[assignment]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run, trio.CancelScope())
            await wait_all_tasks_blocked()
            await client.far.send(b"two and more")
            assert await read_exactly(upstream.far, 12) == b"two and more"
            await wait_all_tasks_blocked()
            assert traffic.up == 12
            nursery.cancel_scope.cancel()
