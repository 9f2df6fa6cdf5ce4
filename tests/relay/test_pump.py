"""One direction: the same promises for every way (`ways.py`), and the order of calls seen by streams that note them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream
from trio.testing import wait_all_tasks_blocked

from chainsocks.relay.pump import CHUNK, End, pump
from tests.net.sockets import read_all, read_exactly
from tests.relay.ways import Line, Way, digest, noise

SEVERAL_MIB = 5 * 1024 * 1024 + 1


@dataclass(slots=True)
class Pumping:
    """A pump at work between two lines."""

    source: Line
    sink: Line
    moved: list[int] = field(default_factory=list)
    end: End | None = None


@contextmanager
def lines(way: Way) -> Iterator[Pumping]:
    with way.open_line() as source, way.open_line() as sink:
        yield Pumping(source, sink)


async def run(way: Way, pumping: Pumping, early_data: bytes = b"") -> None:
    pumping.end = await way.pump(pumping.source.near, pumping.sink.near, early_data, pumping.moved.append)


# --- for every way


async def test_everything_is_passed_on_and_then_the_end(way: Way) -> None:
    data = noise(SEVERAL_MIB)
    with lines(way) as pumping:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, way, pumping)
            nursery.start_soon(say, pumping.source, data)
            assert digest(await read_all(pumping.sink.far)) == digest(data)
        assert pumping.end is End.FINISHED
        assert sum(pumping.moved) == len(data)


async def test_early_data_goes_first(way: Way) -> None:
    early, late = noise(3 * CHUNK, seed=1), noise(CHUNK, seed=2)
    with lines(way) as pumping:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, way, pumping, early)
            nursery.start_soon(say, pumping.source, late)
            assert digest(await read_all(pumping.sink.far)) == digest(early + late)
        assert sum(pumping.moved) == len(early + late)


async def test_a_source_that_says_nothing(way: Way) -> None:
    with lines(way) as pumping:
        await pumping.source.far.send_eof()
        await run(way, pumping)
        assert await read_all(pumping.sink.far) == b""
        assert (pumping.end, pumping.moved) == (End.FINISHED, [])


async def test_bytes_do_not_wait_for_more(way: Way) -> None:
    with lines(way) as pumping:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, way, pumping)
            for word in (b"a", b"bc", b"def"):
                await pumping.source.far.send(word)
                assert await read_exactly(pumping.sink.far, len(word)) == word
            nursery.cancel_scope.cancel()
        assert pumping.moved == [1, 2, 3]


async def test_a_broken_source_is_no_end_for_the_sink(way: Way) -> None:
    with lines(way) as pumping:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, way, pumping)
            await pumping.source.far.send(b"part")
            assert await read_exactly(pumping.sink.far, 4) == b"part"
            pumping.source.reset()
        assert pumping.end is End.SOURCE_BROKEN
        await pumping.sink.near.send(b", and more")
        assert await read_exactly(pumping.sink.far, 10) == b", and more"


async def test_a_broken_sink_ends_it(way: Way) -> None:
    with lines(way) as pumping:
        pumping.sink.reset()
        await pumping.source.far.send(b"lost")
        await run(way, pumping)
        assert (pumping.end, pumping.moved) == (End.SINK_BROKEN, [])


async def test_a_sink_that_breaks_before_the_early_data(way: Way) -> None:
    with lines(way) as pumping:
        pumping.sink.reset()
        await run(way, pumping, b"early")
        assert (pumping.end, pumping.moved) == (End.SINK_BROKEN, [])


async def test_a_sink_that_breaks_while_it_is_slow(way: Way) -> None:
    with lines(way) as pumping:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, pumping.source, noise(SEVERAL_MIB))
            async with trio.open_nursery() as pump_nursery:
                pump_nursery.start_soon(run, way, pumping)
                await wait_all_tasks_blocked()
                stuck = pumping.end is None
                pumping.sink.reset()
            assert stuck
            assert pumping.end is End.SINK_BROKEN
            nursery.cancel_scope.cancel()


async def test_a_pump_closes_nothing(way: Way) -> None:
    with lines(way) as pumping:
        await pumping.source.far.send_eof()
        await run(way, pumping)
        await pumping.source.near.send(b"still open")
        assert await read_exactly(pumping.source.far, 10) == b"still open"
        await pumping.sink.far.send(b"open as well")
        assert await read_exactly(pumping.sink.near, 12) == b"open as well"


async def test_using_a_closed_stream_is_a_bug_and_not_an_end(way: Way) -> None:
    with lines(way) as pumping:
        await pumping.source.near.aclose()
        with pytest.raises(ClosedResourceError):
            await run(way, pumping)


async def say(line: Line, data: bytes) -> None:
    """Send all of `data`, and finish."""
    await line.far.send(data)
    await line.far.send_eof()


# --- call by call: the plain pump


class Scripted(ByteStream):
    """A stream that never waits: it says what is in its script, notes every call, and breaks where it is told to."""

    def __init__(self, *script: bytes | type[Exception], calls: list[str], breaks_at: str = "") -> None:
        self.script = iter(script)
        self.calls = calls
        self.breaks_at = breaks_at

    async def receive(self, max_bytes: int = 65536) -> bytes:
        self._note(f"receive {max_bytes}")
        event = next(self.script, EndOfStream)
        if isinstance(event, bytes):
            return event
        raise event

    async def send(self, item: bytes) -> None:
        self._note(f"send {item[:20].decode()}")

    async def send_eof(self) -> None:
        self._note("send_eof")

    async def aclose(self) -> None:
        self._note("aclose")

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.breaks_at:
            raise BrokenResourceError


RECEIVE = f"receive {CHUNK}"


@pytest.mark.parametrize(
    ("script", "early_data", "breaks_at", "end", "calls"),
    [
        pytest.param(
            (b"one", b"two"),
            b"early",
            "",
            End.FINISHED,
            [
                "send early",
                "moved 5",
                RECEIVE,
                "send one",
                "moved 3",
                RECEIVE,
                "send two",
                "moved 3",
                RECEIVE,
                "send_eof",
            ],
            id="finished",
        ),
        pytest.param((), b"", "", End.FINISHED, [RECEIVE, "send_eof"], id="finished without a word"),
        pytest.param(
            (b"one", BrokenResourceError),
            b"",
            "",
            End.SOURCE_BROKEN,
            [RECEIVE, "send one", "moved 3", RECEIVE],
            id="source broken",
        ),
        pytest.param((), b"early", "send early", End.SINK_BROKEN, ["send early"], id="sink broken by early data"),
        pytest.param((b"one",), b"", "send one", End.SINK_BROKEN, [RECEIVE, "send one"], id="sink broken by data"),
        pytest.param((), b"", "send_eof", End.SINK_BROKEN, [RECEIVE, "send_eof"], id="sink broken by the end"),
    ],
)
async def test_each_chunk_is_counted_when_it_has_been_taken_and_before_the_next_is_read(
    script: tuple[bytes | type[Exception], ...], early_data: bytes, breaks_at: str, end: End, calls: list[str]
) -> None:
    made: list[str] = []
    source = Scripted(*script, calls=made)
    sink = Scripted(calls=made, breaks_at=breaks_at)
    assert await pump(source, sink, early_data, lambda size: made.append(f"moved {size}")) is end
    assert made == calls


async def test_others_get_their_turn_while_the_streams_never_wait() -> None:
    chunk, total = bytes(CHUNK), 64 * 1024 * 1024
    moved = 0
    seen: list[int] = []

    def count(size: int) -> None:
        nonlocal moved
        moved += size

    async def watch() -> None:
        while True:
            seen.append(moved)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await pump(Scripted(*[chunk] * (total // CHUNK), calls=[]), Scripted(calls=[]), b"", count)
        nursery.cancel_scope.cancel()
    assert moved == total
    # It yields after each MiB; and since trio shuffles, it may have two turns before somebody else has one.
    assert max(after - before for before, after in pairwise([0, *seen, total])) <= 2 * 1024 * 1024
