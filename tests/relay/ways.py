"""The ways that bytes can take through a relay: every implementation, over every kind of stream that it is made for.

The suite in `test_pump.py` and `test_relay.py` runs once for each row of `WAYS`, and says the same of each: a new pump
or a new kind of stream is one more row.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import lru_cache, partial
from hashlib import sha256
from typing import Protocol

import trio
from anyio import ClosedResourceError
from anyio.abc import ByteStream

from chainsocks.gss.stream import EncapsulatedStream
from chainsocks.limits.bandwidth import Bandwidth, Share, Waiter
from chainsocks.net.pipes import PIPE_SIZE
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import READ_EVENTS, WRITE_EVENTS, Poller
from chainsocks.net.stream import SocketStream
from chainsocks.observe.record import Traffic
from chainsocks.protocol.gssapi import Protection
from chainsocks.relay.flow import Flow
from chainsocks.relay.polled_relay import relay_between
from chainsocks.relay.pump import CHUNK, End, pump
from chainsocks.relay.relay import Outcome
from chainsocks.relay.throttled import ThrottledFlow
from tests.mechanism import agreed
from tests.memory import memory_stream_pair
from tests.net.sockets import PATIENCE, reset, tcp_pair, unix_pair

__all__ = ["WAYS", "Direction", "Line", "Relaying", "Way", "digest", "noise", "relay", "relaying"]


@dataclass(frozen=True, slots=True)
class Line:
    """A connection: the relay has its near end, and the test, as the peer, its far end."""

    near: ByteStream
    far: ByteStream
    reset: Callable[[], None]
    """Have the peer break the connection, in the way of its kind."""


class Pump(Protocol):
    """One direction of a relay."""

    async def __call__(
        self, source: ByteStream, sink: ByteStream, early_data: bytes, moved: Callable[[int], None]
    ) -> End: ...


@dataclass(frozen=True, slots=True)
class Way:
    """An implementation, the kind of line that it is tried over, and how much the two may hold."""

    name: str
    pump: Pump
    open_line: Callable[..., AbstractContextManager[Line]]
    """Takes a poller where `polled`."""
    line_holds: int
    """Bytes on one line in one direction, at most."""
    relay_holds: int = CHUNK
    """Bytes that the relay has taken and not yet passed on in one direction, at most."""
    resets: bool = False
    """Whether closing such a stream can reset it."""
    polled: bool = False
    splices: bool = True
    """Whether it may splice, where it knows how."""
    tasks: int = 1
    """Tasks that a relay has beside its caller's."""
    patience: float = PATIENCE
    """Real seconds of quiet before the mock clock may jump."""


# --- kinds of line

ROOM = 32 * 1024


@contextmanager
def memory_line() -> Iterator[Line]:
    near, far = memory_stream_pair(ROOM)
    yield Line(near, far, far.reset)


@contextmanager
def capsule_line() -> Iterator[Line]:
    near, far = memory_stream_pair(ROOM)
    one, other = agreed()
    yield Line(
        EncapsulatedStream(near, one, Protection.INTEGRITY),
        EncapsulatedStream(far, other, Protection.INTEGRITY),
        far.reset,
    )


@contextmanager
def tcp_line() -> Iterator[Line]:
    near, far = tcp_pair(buffers=4 * ROOM)
    with near, far:
        yield Line(SocketStream(near), SocketStream(far), lambda: reset(far))


@contextmanager
def unix_line() -> Iterator[Line]:
    near, far = unix_pair(buffers=ROOM)

    def break_it() -> None:
        # Closing a unix socket is a regular end, unless something in it was not read.
        try:
            near.send(b"unread")
        except (BlockingIOError, BrokenPipeError):
            pass  # it is full, or we have finished: then something unread is in it already
        far.close()

    with near, far:
        yield Line(SocketStream(near), SocketStream(far), break_it)


@contextmanager
def polled_line(poller: Poller) -> Iterator[Line]:
    near, far = tcp_pair(buffers=4 * ROOM)
    stream = PolledStream(near, poller, short_read_is_all=True)
    with near, far:
        yield Line(stream, SocketStream(far), lambda: reset(far))
        poller.forget(stream.socket.fileno())


@contextmanager
def polled_unix_line(poller: Poller) -> Iterator[Line]:
    with unix_line() as line:
        assert isinstance(line.near, SocketStream)
        stream = PolledStream(line.near.socket, poller)
        yield replace(line, near=stream)
        poller.forget(stream.socket.fileno())


async def relay(
    client: ByteStream,
    upstream: ByteStream,
    traffic: Traffic,
    *,
    early_up: bytes = b"",
    early_down: bytes = b"",
    idle: float,
    half_close: float,
) -> Outcome:
    """Run a relay in a scope of its own."""
    relay = relay_between(client, upstream, traffic, idle=idle, half_close=half_close)
    with trio.CancelScope() as scope:
        await relay.run(scope, early_up, early_down)
    return relay.outcome


@dataclass(frozen=True)
class FlowWatcher:
    """Passes the events of two streams to a flow, as a relay does."""

    flow: Flow
    source: PolledStream

    def on_stream_event(self, stream: PolledStream, events: int) -> None:
        if stream is not self.source:
            if events & WRITE_EVENTS:
                self.flow.sink_event()
        elif events & READ_EVENTS:
            self.flow.source_event(events)


class Turns(Share):
    """A share that makes a flow wait for its turn before each read, which comes with the poller's next step."""

    def __init__(self, poller: Poller) -> None:
        super().__init__(Bandwidth(lambda: 0.0, lambda _: None), "", None)
        self._poller = poller

    @property
    def may_move(self) -> bool:
        return False

    def wait(self, waiter: Waiter) -> None:
        self._poller.enqueue(waiter.resume)


async def throttled_flow(source: ByteStream, sink: ByteStream, early_data: bytes, moved: Callable[[int], None]) -> End:
    """Run one flow by itself that waits for its turns."""
    assert isinstance(source, PolledStream)
    share = Turns(source.poller)
    return await flow(source, sink, early_data, moved, partial(ThrottledFlow, share=share))


async def flow(
    source: ByteStream,
    sink: ByteStream,
    early_data: bytes,
    moved: Callable[[int], None],
    make: Callable[..., Flow] = Flow,
) -> End:
    """Run one flow by itself, as a pump."""
    assert isinstance(source, PolledStream)
    assert isinstance(sink, PolledStream)
    ends: list[End] = []
    ended = trio.Event()

    def end_with(end: End) -> None:
        ends.append(end)
        ended.set()

    flow = make(source, sink, moved, end_with)
    watcher = FlowWatcher(flow, source)
    source.hand_over(watcher)
    sink.hand_over(watcher)
    try:
        flow.start(early_data)
        await ended.wait()
    finally:
        flow.stop()
        source.take_back()
        sink.take_back()
    if source.closed or sink.closed:
        raise ClosedResourceError
    return ends[0]


WAYS = [
    Way("pump, memory", pump, memory_line, line_holds=ROOM, patience=0),
    Way("pump, capsules", pump, capsule_line, line_holds=6 * ROOM, patience=0),
    Way("pump, unix", pump, unix_line, line_holds=4 * ROOM),
    Way("pump, tcp", pump, tcp_line, line_holds=16 * ROOM, resets=True),
    Way("flow, tcp", flow, polled_line, line_holds=16 * ROOM, relay_holds=CHUNK + PIPE_SIZE, polled=True, tasks=0),
    Way(
        "flow, tcp, in turns",
        throttled_flow,
        polled_line,
        line_holds=16 * ROOM,
        relay_holds=CHUNK + PIPE_SIZE,
        polled=True,
        tasks=0,
    ),
    Way("flow, tcp, no splice", flow, polled_line, line_holds=16 * ROOM, polled=True, splices=False, tasks=0),
    Way(
        "flow, unix",
        flow,
        polled_unix_line,
        line_holds=4 * ROOM,
        relay_holds=CHUNK + PIPE_SIZE,
        polled=True,
        tasks=0,
    ),
]
"""The kernel counts more than the bytes, and TCP holds some at either end: for sockets these are rough upper bounds."""


# --- a relay at work


@dataclass(slots=True)
class Relaying:
    """A relay, and both lines to it."""

    client: Line
    upstream: Line
    traffic: Traffic = field(default_factory=Traffic)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    ended_at: float = math.nan
    result: Outcome | None = None

    async def outcome(self) -> Outcome | None:
        """Wait for the end of the relay; None if it was cancelled."""
        await self.ended.wait()
        return self.result


@asynccontextmanager
async def relaying(
    way: Way,
    *,
    idle: float = math.inf,
    half_close: float = math.inf,
    early_up: bytes = b"",
    early_down: bytes = b"",
    may_fail: tuple[type[Exception], ...] = (),
) -> AsyncIterator[Relaying]:
    """Run a relay in the background; it is cancelled at the end, if it has not ended by itself.

    It may raise one of `may_fail`.
    """
    with ExitStack() as lines:
        running = Relaying(lines.enter_context(way.open_line()), lines.enter_context(way.open_line()))

        async def run() -> None:
            with running.scope, suppress(*may_fail):
                running.result = await relay(
                    running.client.near,
                    running.upstream.near,
                    running.traffic,
                    early_up=early_up,
                    early_down=early_down,
                    idle=idle,
                    half_close=half_close,
                )
            running.ended_at = trio.current_time()
            running.ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield running
            nursery.cancel_scope.cancel()


class Direction(Enum):
    """Half of a relay; what holds for one half holds for the other."""

    UP = auto()
    DOWN = auto()

    def source(self, running: Relaying) -> Line:
        return running.client if self is Direction.UP else running.upstream

    def sink(self, running: Relaying) -> Line:
        return running.upstream if self is Direction.UP else running.client

    def moved(self, traffic: Traffic) -> int:
        return traffic.up if self is Direction.UP else traffic.down

    @property
    def source_broken(self) -> Outcome:
        return Outcome.CLIENT_BROKEN if self is Direction.UP else Outcome.UPSTREAM_BROKEN

    @property
    def sink_broken(self) -> Outcome:
        return self.back.source_broken

    @property
    def back(self) -> Direction:
        """The other direction."""
        return Direction.DOWN if self is Direction.UP else Direction.UP


# --- bytes


@lru_cache(16)
def noise(size: int, seed: int = 0) -> bytes:
    """Make bytes that no mix-up leaves as they are."""
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> tuple[int, str]:
    """Stand for megabytes in an assertion."""
    return len(data), sha256(data).hexdigest()
