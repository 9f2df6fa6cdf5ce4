"""`SocketStream` over TCP and over a unix socket pair; the other end is a bare socket in the test's hands."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import SocketAttribute
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from chainsocks.gss.stream import EncapsulatedStream
from chainsocks.net.stream import SocketStream
from chainsocks.network import reset_on_close
from chainsocks.protocol.gssapi import Protection
from tests.mechanism import agreed
from tests.memory import memory_stream_pair
from tests.net.sockets import LOOPBACK, LOOPBACK6, needs_ipv6, read_all, read_exactly, reset, tcp_pair, unix_pair

SMALL = 16384
"""Bytes in a send buffer: a fraction of what is sent."""

BIG = bytes(range(256)) * 8192
"""2 MiB: more than any of these connections holds when nobody reads."""

LITTLE = b"the rest"

Pair = tuple[SocketStream, socket.socket]


@pytest.fixture(params=[pytest.param(tcp_pair, id="tcp"), pytest.param(unix_pair, id="unix")])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    near, far = request.param(buffers=SMALL)
    stream = SocketStream(near)
    yield stream, far
    await stream.aclose()
    far.close()


@pytest.fixture
async def tcp() -> AsyncIterator[Pair]:
    near, far = tcp_pair(buffers=SMALL)
    stream = SocketStream(near)
    yield stream, far
    await stream.aclose()
    far.close()


# --- peek


async def test_what_is_looked_at_stays(pair: Pair) -> None:
    stream, far = pair
    far.send(b"hello")
    with assert_no_checkpoints():
        assert [await stream.peek(3), await stream.peek(99)] == [b"hel", b"hello"]
        assert await stream.receive(2) == b"he"
        assert await stream.peek(99) == b"llo"
        assert await stream.receive() == b"llo"
    far.shutdown(socket.SHUT_WR)
    assert await stream.peek(1) == b""
    with pytest.raises(EndOfStream):
        await stream.receive()


async def test_a_look_waits_for_something(pair: Pair) -> None:
    stream, far = pair
    seen: list[bytes] = []

    async def look() -> None:
        seen.append(await stream.peek(99))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await wait_all_tasks_blocked()
        assert seen == []
        far.send(b"late")
    assert seen == [b"late"]


async def test_a_look_at_a_reset_connection(tcp: Pair) -> None:
    stream, far = tcp
    reset(far)
    with pytest.raises(BrokenResourceError):
        await stream.peek(1)


# --- receive


async def test_what_has_arrived_is_returned_without_a_trip_through_the_scheduler(pair: Pair) -> None:
    stream, far = pair
    far.send(b"hello")
    with assert_no_checkpoints():
        assert await stream.receive() == b"hello"


async def test_receive_waits_for_something(pair: Pair) -> None:
    stream, far = pair
    heard: list[bytes] = []

    async def listen() -> None:
        heard.append(await stream.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        assert heard == []
        far.send(b"late")
    assert heard == [b"late"]


async def test_receive_returns_at_most_what_was_asked_for_and_keeps_the_rest(pair: Pair) -> None:
    stream, far = pair
    far.send(b"abcdef")
    assert await stream.receive(4) == b"abcd"
    assert await stream.receive(4) == b"ef"


async def test_the_end_comes_after_the_data_and_stays(pair: Pair) -> None:
    stream, far = pair
    far.send(b"last words")
    far.shutdown(socket.SHUT_WR)
    assert await stream.receive() == b"last words"
    for _ in range(2):
        with pytest.raises(EndOfStream):
            await stream.receive()


async def test_a_cancelled_receive_loses_nothing(pair: Pair) -> None:
    stream, far = pair
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive()
    assert scope.cancelled_caught
    far.send(b"still here")
    assert await stream.receive() == b"still here"


# --- send


async def test_what_the_kernel_takes_at_once_is_sent_without_a_trip_through_the_scheduler(pair: Pair) -> None:
    stream, far = pair
    with assert_no_checkpoints():
        await stream.send(b"hello")
    assert far.recv(100) == b"hello"


async def test_send_hands_over_everything_piece_by_piece(pair: Pair) -> None:
    stream, far = pair
    async with collecting(far) as received:
        with assert_checkpoints():  # it had to wait, so the kernel took it in parts
            await stream.send(BIG)
        await stream.send_eof()
    assert received == BIG


async def test_send_into_a_full_buffer_waits_and_begins_where_the_last_one_ended(pair: Pair) -> None:
    stream, far = pair
    filled = fill(stream.socket)
    async with using(stream, send_little):
        far_stream = SocketStream(far)
        assert await read_exactly(far_stream, filled) == bytes(filled)
        assert await read_exactly(far_stream, len(LITTLE)) == LITTLE


async def test_a_wake_up_for_nothing_is_slept_on(tcp: Pair) -> None:
    stream, far = tcp
    moody = Moody(fileno=stream.socket.detach())
    moody.settimeout(0)
    stream.socket = moody
    with assert_checkpoints():
        await stream.send(b"hello")
    assert moody.refusals == 0
    assert far.recv(100) == b"hello"


async def test_sending_nothing_is_fine(pair: Pair) -> None:
    stream, far = pair
    await stream.send(b"")
    await stream.send(b"x")
    assert far.recv(100) == b"x"


async def test_a_cancelled_send_leaves_the_stream_usable(pair: Pair) -> None:
    stream, far = pair
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.send(BIG)
    assert scope.cancelled_caught
    async with collecting(far) as received:
        await stream.send(b"more")
        await stream.send_eof()
    assert received.endswith(b"more")
    part = received.removesuffix(b"more")
    assert BIG.startswith(part)
    assert 0 < len(part) < len(BIG)


async def test_send_eof_finishes_one_direction_only(pair: Pair) -> None:
    stream, far = pair
    await stream.send_eof()
    assert far.recv(100) == b""
    far.send(b"answer")
    assert await stream.receive() == b"answer"


# --- a connection that breaks


async def receive(stream: SocketStream) -> None:
    await stream.receive()


async def send(stream: SocketStream) -> None:
    await stream.send(BIG)


async def send_little(stream: SocketStream) -> None:
    await stream.send(LITTLE)


async def send_eof(stream: SocketStream) -> None:
    await stream.send_eof()


Use = Callable[[SocketStream], Awaitable[None]]


@pytest.mark.parametrize("use", [receive, send, send_eof])
async def test_a_reset_breaks_every_use(tcp: Pair, use: Use) -> None:
    stream, far = tcp
    reset(far)
    with pytest.raises(BrokenResourceError):
        await use(stream)


@pytest.mark.parametrize("use", [receive, send])
async def test_a_reset_wakes_whoever_waits(tcp: Pair, use: Use) -> None:
    stream, far = tcp
    async with using(stream, use) as ended:
        reset(far)
    assert ended == [BrokenResourceError]


async def test_what_was_said_before_a_reset_is_still_received(tcp: Pair) -> None:
    stream, far = tcp
    far.send(b"last words")
    reset(far)
    assert await stream.receive() == b"last words"
    with pytest.raises(BrokenResourceError):
        await stream.receive()


async def test_a_reset_that_a_send_was_told_of_is_no_regular_end_for_a_receive(tcp: Pair) -> None:
    stream, far = tcp
    far.send(b"half of")
    reset(far)
    with pytest.raises(BrokenResourceError):
        await stream.send(b"x")  # the kernel reports it here, and never again
    assert await stream.receive() == b"half of"
    for _ in range(2):
        with pytest.raises(BrokenResourceError):
            await stream.receive()


@pytest.mark.parametrize("use", [send, send_eof])
async def test_a_peer_that_finished_before_it_was_gone_has_finished(tcp: Pair, use: Use) -> None:
    stream, far = tcp
    far.send(b"all of it")
    far.close()
    await stream.send(b"for nobody")  # answered by a reset
    with pytest.raises(BrokenResourceError):
        await use(stream)
    assert await stream.receive() == b"all of it"
    with pytest.raises(EndOfStream):
        await stream.receive()


async def test_sending_to_a_closed_peer_breaks(pair: Pair) -> None:
    stream, far = pair
    far.close()
    with pytest.raises(BrokenResourceError):
        await stream.send(BIG)


# --- a stream that we close


@pytest.mark.parametrize("use", [receive, send, send_eof])
async def test_nothing_can_be_done_with_a_closed_stream(pair: Pair, use: Use) -> None:
    stream, _ = pair
    await stream.aclose()
    with pytest.raises(ClosedResourceError):
        await use(stream)


@pytest.mark.parametrize("use", [receive, send])
async def test_closing_wakes_whoever_waits(pair: Pair, use: Use) -> None:
    stream, _ = pair
    async with using(stream, use) as ended:
        await stream.aclose()
    assert ended == [ClosedResourceError]


async def test_closing_is_idempotent_and_never_blocks(pair: Pair) -> None:
    stream, far = pair
    with assert_no_checkpoints():
        await stream.aclose()
        await stream.aclose()
    assert stream.socket.fileno() == -1
    assert far.recv(100) == b""


async def test_closing_forcefully_closes(pair: Pair) -> None:
    stream, far = pair
    await anyio.aclose_forcefully(stream)
    assert far.recv(100) == b""


async def test_what_was_sent_is_delivered_after_closing(pair: Pair) -> None:
    stream, far = pair
    await stream.send(b"goodbye")
    await stream.aclose()
    assert await read_all(SocketStream(far)) == b"goodbye"


# --- reset_on_close


async def test_reset_on_close_resets(tcp: Pair) -> None:
    stream, far = tcp
    reset_on_close(stream)
    await stream.aclose()
    with pytest.raises(ConnectionResetError) as caught:
        far.recv(100)
    assert caught.value.errno == errno.ECONNRESET


async def test_reset_on_close_resets_below_a_stream_over_another(tcp: Pair) -> None:
    stream, far = tcp
    over = EncapsulatedStream(stream, agreed()[0], Protection.INTEGRITY)
    reset_on_close(over)
    await over.aclose()
    with pytest.raises(ConnectionResetError):
        far.recv(100)


async def test_reset_on_close_changes_nothing_before_the_close(tcp: Pair) -> None:
    stream, far = tcp
    reset_on_close(stream)
    await stream.send(b"hello")
    assert far.recv(100) == b"hello"
    far.send(b"hello yourself")
    assert await stream.receive() == b"hello yourself"


async def test_reset_on_close_leaves_a_closed_stream_alone(pair: Pair) -> None:
    stream, _ = pair
    await stream.aclose()
    reset_on_close(stream)


async def test_reset_on_close_leaves_other_streams_alone() -> None:
    near, far = memory_stream_pair()
    reset_on_close(near)
    await near.send(b"hello")
    await near.aclose()
    assert await read_all(far) == b"hello"


# --- attributes


@pytest.mark.parametrize(
    ("host", "family"),
    [
        pytest.param(LOOPBACK, socket.AF_INET, id="ipv4"),
        pytest.param(LOOPBACK6, socket.AF_INET6, id="ipv6", marks=needs_ipv6),
    ],
)
async def test_attributes_under_anyios_names(host: str, family: socket.AddressFamily) -> None:
    near, far = tcp_pair(host)
    with far:
        async with SocketStream(near) as stream:
            assert stream.extra(SocketAttribute.raw_socket) is near
            assert stream.extra(SocketAttribute.family) is family
            assert stream.extra(SocketAttribute.local_address) == far.getpeername()
            assert stream.extra(SocketAttribute.remote_address) == far.getsockname()


# --- helpers


@asynccontextmanager
async def using(stream: SocketStream, use: Use) -> AsyncIterator[list[type[Exception]]]:
    """Run the block while somebody is stuck in `use`; yield what that will have ended with."""
    ended: list[type[Exception]] = []

    async def get_stuck() -> None:
        try:
            await use(stream)
        except (BrokenResourceError, ClosedResourceError) as error:
            ended.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get_stuck)
        await wait_all_tasks_blocked()
        assert ended == []
        yield ended


@asynccontextmanager
async def collecting(far: socket.socket) -> AsyncIterator[bytearray]:
    """Read the far end in the background; yield what will have come when it ends."""
    received = bytearray()

    async def collect() -> None:
        received.extend(await read_all(SocketStream(far)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        yield received


class Moody(socket.socket):
    """A socket that can be written to, and then says a few times that it would block."""

    refusals = 3

    def send(self, data: Any, flags: int = 0, /) -> int:
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError
        return super().send(data, flags)


def fill(sock: socket.socket) -> int:
    """Send zeros until the kernel takes no more, and return how many it took."""
    taken = 0
    while True:
        try:
            taken += sock.send(bytes(SMALL))
        except BlockingIOError:
            return taken
