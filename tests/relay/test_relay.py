"""Both directions together: the same promises for every way (`ways.py`), and exact times on the mock clock."""

from __future__ import annotations

import math
from typing import TypedDict

import anyio
import pytest
import trio
from anyio import BrokenResourceError, ClosedResourceError
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.observe.record import Traffic
from chainsocks.relay.relay import Outcome, PumpedRelay
from tests.memory import memory_stream_pair
from tests.net.sockets import read_all, read_exactly
from tests.relay.ways import WAYS, Direction, Line, Relaying, Way, digest, noise, relaying

UP, DOWN = Direction.UP, Direction.DOWN
MIB = 1024 * 1024

RESETTING = [pytest.param(way, id=way.name) for way in WAYS if way.resets]

LITTLE = 16 * 1024
"""Bytes that fit on a line."""

TOO_MUCH = noise(4 * MIB, seed=3)
"""More than a line holds."""

# --- bytes


async def test_bytes_go_both_ways_at_once(way: Way) -> None:
    asked, answered = noise(4 * MIB + 1, seed=1), noise(6 * MIB - 1, seed=2)
    async with relaying(way) as running:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, running.client, asked)
            nursery.start_soon(say, running.upstream, answered)
            nursery.start_soon(expect, running.upstream, asked)
            nursery.start_soon(expect, running.client, answered)
        assert await running.outcome() is Outcome.FINISHED
    assert running.traffic == Traffic(up=len(asked), down=len(answered))


async def test_early_data_goes_first_and_counts(way: Way) -> None:
    early_up, early_down = noise(3 * MIB, seed=1), noise(2 * MIB, seed=2)
    async with relaying(way, early_up=early_up, early_down=early_down) as running:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, running.client, b"question")
            nursery.start_soon(say, running.upstream, b"answer")
            nursery.start_soon(expect, running.upstream, early_up + b"question")
            nursery.start_soon(expect, running.client, early_down + b"answer")
        assert await running.outcome() is Outcome.FINISHED
    assert running.traffic == Traffic(up=3 * MIB + 8, down=2 * MIB + 6)


async def test_each_word_is_passed_on_when_it_is_said(way: Way) -> None:
    async with relaying(way) as running:
        for index, word in enumerate((b"220 ready", b"HELO", b"250 hello", b"QUIT"), 1):
            speaker, listener = (running.client, running.upstream) if index % 2 else (running.upstream, running.client)
            await speaker.far.send(word)
            assert await read_exactly(listener.far, len(word)) == word


async def test_the_traffic_can_be_watched_while_it_goes_on(way: Way, direction: Direction, clock: MockClock) -> None:
    async with relaying(way) as running:
        for count in (5, 10):
            await direction.source(running).far.send(b"bytes")
            await trio.sleep(1)
            assert direction.moved(running.traffic) == count
            assert direction.back.moved(running.traffic) == 0


async def test_a_slow_reader_slows_the_other_side_down(way: Way, direction: Direction, clock: MockClock) -> None:
    offered = noise(16 * MIB)
    piece = 4096
    most = 2 * way.line_holds + way.relay_holds
    assert most < len(offered) / 2
    async with relaying(way) as running:
        source = direction.source(running).far
        taken = 0
        with trio.move_on_after(1):
            for taken in range(0, len(offered), piece):
                await source.send(offered[taken : taken + piece])
        assert taken <= most
        # Nothing of it is lost.
        got = await read_exactly(direction.sink(running).far, taken)
        assert digest(got) == digest(offered[:taken])


# --- half-close


async def test_an_end_is_passed_on_and_the_other_direction_goes_on(way: Way, direction: Direction) -> None:
    last_words, answer = b"that is all", noise(10 * MIB)
    async with relaying(way) as running:
        await say(direction.source(running), last_words)
        await expect(direction.sink(running), last_words)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, direction.sink(running), answer)
            nursery.start_soon(expect, direction.source(running), answer)
        assert await running.outcome() is Outcome.FINISHED
    assert direction.moved(running.traffic) == len(last_words)
    assert direction.back.moved(running.traffic) == len(answer)


async def test_both_sides_have_nothing_to_say(way: Way) -> None:
    async with relaying(way) as running:
        for line in (running.client, running.upstream):
            await line.far.send_eof()
        assert await running.outcome() is Outcome.FINISHED
        for line in (running.client, running.upstream):
            assert await read_all(line.far) == b""
    assert running.traffic == Traffic()


# --- silence


@pytest.mark.parametrize(
    ("spoken_at", "ends_at"),
    [
        pytest.param((), 90, id="never a word"),
        pytest.param((5,), 90, id="a word within the first eighth"),
        pytest.param((9.99,), 90, id="a word at the very end of it"),
        pytest.param((10,), 100, id="a word after the first eighth"),
        pytest.param((79.5,), 169.5, id="a word just in time"),
        pytest.param((89,), 179, id="a word in the eighth that we are late"),
        pytest.param((60, 65, 125), 215, id="words now and then"),
        pytest.param(tuple(range(3, 63, 3)), 150, id="a word every three seconds"),
    ],
)
async def test_silence_ends_a_relay_never_early_and_at_most_an_eighth_late(
    way: Way, direction: Direction, clock: MockClock, spoken_at: tuple[float, ...], ends_at: float
) -> None:
    idle = 80
    async with relaying(way, idle=idle) as running:
        for moment in spoken_at:
            await trio.sleep_until(moment)
            await direction.source(running).far.send(b"x")
        assert await running.outcome() is Outcome.IDLE
        assert running.ended_at == ends_at
    assert idle <= ends_at - (spoken_at[-1] if spoken_at else 0) <= idle * 9 / 8
    assert direction.moved(running.traffic) == len(spoken_at)


async def test_a_peer_that_takes_nothing_any_more_is_silent(way: Way, direction: Direction, clock: MockClock) -> None:
    async with relaying(way, idle=80) as running, trio.open_nursery() as nursery:
        nursery.start_soon(direction.source(running).far.send, noise(16 * MIB))
        assert await running.outcome() is Outcome.IDLE
        assert running.ended_at == 90
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("idle", "half_close", "answered_at", "ends_at"),
    [
        pytest.param(80, 40, (), 20 + 45, id="silence"),
        pytest.param(80, 40, (24,), 20 + 45, id="a word within the first eighth"),
        pytest.param(80, 40, (50,), 50 + 45, id="a word"),
        pytest.param(80, 40, (50, 85, 120), 120 + 45, id="words now and then"),
        pytest.param(math.inf, 40, (), 20 + 45, id="idle is off"),
        pytest.param(80, 1000, (), 20 + 90, id="idle is less, and holds"),
        pytest.param(80, math.inf, (), 20 + 90, id="half_close is off, and idle holds"),
    ],
)
async def test_silence_after_one_side_has_finished(
    way: Way,
    direction: Direction,
    clock: MockClock,
    idle: float,
    half_close: float,
    answered_at: tuple[float, ...],
    ends_at: float,
) -> None:
    async with relaying(way, idle=idle, half_close=half_close) as running:
        await trio.sleep_until(20)
        await direction.source(running).far.send_eof()
        for moment in answered_at:
            await trio.sleep_until(moment)
            await direction.sink(running).far.send(b"x")
        assert await running.outcome() is Outcome.HALF_CLOSED
        assert running.ended_at == ends_at


async def test_off_is_off(way: Way, direction: Direction, clock: MockClock) -> None:
    year = 365 * 24 * 3600
    async with relaying(way, idle=math.inf, half_close=math.inf) as running:
        await trio.sleep(year)
        await say(direction.source(running), b"Rip")
        await expect(direction.sink(running), b"Rip")
        await trio.sleep(year)
        await say(direction.sink(running), b"van Winkle")
        await expect(direction.source(running), b"van Winkle")
        assert await running.outcome() is Outcome.FINISHED
        assert running.ended_at == 2 * year


# --- what breaks


async def test_a_side_that_resets_ends_the_relay_at_once(way: Way, direction: Direction, clock: MockClock) -> None:
    async with relaying(way, idle=80, half_close=40) as running:
        await trio.sleep(7)
        direction.source(running).reset()
        assert await running.outcome() is direction.source_broken
        assert running.ended_at == 7
        await expect_no_end(direction.sink(running))


async def test_a_reset_after_the_other_side_has_finished(way: Way, direction: Direction, clock: MockClock) -> None:
    async with relaying(way, idle=80, half_close=40) as running:
        await say(direction.sink(running), b"what nobody will read")
        await trio.sleep(7)
        direction.source(running).reset()
        assert await running.outcome() is direction.source_broken
        assert running.ended_at == 7
        await expect_no_end(direction.sink(running))


async def test_a_reset_that_a_send_meets_first_is_no_end_either(
    way: Way, direction: Direction, clock: MockClock
) -> None:
    async with relaying(way, idle=80, half_close=40) as running, trio.open_nursery() as nursery:
        nursery.start_soon(direction.sink(running).far.send, noise(16 * MIB))
        await trio.sleep(7)  # by now the relay is stuck in sending to the side that resets
        direction.source(running).reset()
        assert await running.outcome() is direction.source_broken
        assert running.ended_at == 7
        await expect_no_end(direction.sink(running))
        nursery.cancel_scope.cancel()


async def test_a_side_that_is_gone_after_its_last_words_is_heard_out(
    way: Way, direction: Direction, clock: MockClock
) -> None:
    last_words = noise(16 * 1024)
    async with relaying(way, idle=80, half_close=40, **stuck(direction)) as running:
        listener = direction.sink(running)
        await leave(direction, running, last_words)
        assert not running.ended.is_set()
        await expect(listener, TOO_MUCH + last_words)
        assert await running.outcome() is direction.source_broken
    assert direction.moved(running.traffic) == len(TOO_MUCH + last_words)


async def test_a_side_that_is_gone_holds_the_relay_no_longer_than_half_close(
    way: Way, direction: Direction, clock: MockClock
) -> None:
    async with relaying(way, idle=80, half_close=40, **stuck(direction)) as running:
        found_out_at = await leave(direction, running, b"what nobody will hear")
        assert await running.outcome() is direction.source_broken
        assert running.ended_at == found_out_at + 45


async def test_early_data_for_a_side_that_has_reset(way: Way, direction: Direction, clock: MockClock) -> None:
    async with relaying(way, idle=80, half_close=40, early_up=b"x", early_down=b"x") as running:
        direction.sink(running).reset()
        assert await running.outcome() is direction.sink_broken
        assert running.ended_at == 0
    assert direction.moved(running.traffic) == 0


async def test_the_side_that_was_gone_first_is_the_one_to_blame(
    way: Way, direction: Direction, clock: MockClock
) -> None:
    async with relaying(way, idle=80, half_close=40, **stuck(direction)) as running:
        await leave(direction, running, b"what nobody will hear")
        direction.sink(running).reset()
        left_at = trio.current_time()
        assert await running.outcome() is direction.source_broken
        assert running.ended_at == left_at


# --- what closing the streams means afterwards


async def test_a_slow_reader_of_a_complete_stream_still_gets_all_of_it(
    way: Way, direction: Direction, clock: MockClock
) -> None:
    everything = noise(LITTLE)
    async with relaying(way, idle=80, half_close=40) as running:
        await say(direction.source(running), everything)
        assert await running.outcome() is Outcome.HALF_CLOSED  # nothing moved; but the kernel still has it
        await close_near_ends(running)
        await expect(direction.sink(running), everything)


@pytest.mark.parametrize("row", RESETTING, indirect=True)
async def test_nobody_takes_a_part_for_the_whole(way: Way, direction: Direction, clock: MockClock) -> None:
    async with relaying(way, idle=80, half_close=40) as running:
        await direction.source(running).far.send(b"part")
        await direction.sink(running).far.send_eof()
        assert await running.outcome() is Outcome.HALF_CLOSED
        await close_near_ends(running)
        with pytest.raises(BrokenResourceError):
            await read_all(direction.sink(running).far)
        await expect(direction.source(running), b"")


@pytest.mark.parametrize("row", RESETTING, indirect=True)
async def test_a_cancelled_relay_leaves_both_sides_without_a_whole(way: Way, clock: MockClock) -> None:
    async with relaying(way) as running:
        await trio.sleep(7)
        running.scope.cancel()
        await running.outcome()
        await close_near_ends(running)
        for line in (running.client, running.upstream):
            with pytest.raises(BrokenResourceError):
                await line.far.receive()


# --- cancellation, and the end


async def test_cancelling_closes_nothing_and_leaves_no_task(way: Way, clock: MockClock) -> None:
    async with relaying(way, idle=80) as running:
        alone = trio.lowlevel.current_statistics().tasks_living
        await trio.sleep(7)
        assert trio.lowlevel.current_statistics().tasks_living == alone + way.tasks
        running.scope.cancel()
        assert await running.outcome() is None
        assert running.ended_at == 7
        for line in (running.client, running.upstream):
            await expect_open(line)
    assert trio.lowlevel.current_statistics().tasks_living == alone - 1


async def test_cancelling_reaches_a_relay_that_is_stuck(way: Way, direction: Direction, clock: MockClock) -> None:
    async with relaying(way, idle=80) as running, trio.open_nursery() as nursery:
        nursery.start_soon(direction.source(running).far.send, noise(16 * MIB))
        await trio.sleep(7)
        running.scope.cancel()
        assert await running.outcome() is None
        assert running.ended_at == 7
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("finished", [UP, DOWN])
async def test_the_streams_stay_open_however_it_ended(way: Way, finished: Direction, clock: MockClock) -> None:
    async with relaying(way, idle=80, half_close=40) as running:
        await finished.source(running).far.send_eof()
        assert await running.outcome() is Outcome.HALF_CLOSED
        await finished.source(running).near.send(b"still open")
        assert await read_exactly(finished.source(running).far, 10) == b"still open"


async def test_a_stream_that_somebody_closes_under_it_is_a_bug(way: Way, direction: Direction) -> None:
    async def close_under_it() -> None:
        async with relaying(way) as running:
            await wait_all_tasks_blocked()
            await direction.source(running).near.aclose()
            await running.outcome()

    with pytest.raises(ExceptionGroup) as caught:
        await close_under_it()
    assert caught.group_contains(ClosedResourceError)


# --- helpers


async def say(line: Line, data: bytes) -> None:
    """Send all of `data`, and finish."""
    await line.far.send(data)
    await line.far.send_eof()


async def expect(line: Line, data: bytes) -> None:
    """Receive `data`, and the end."""
    assert digest(await read_all(line.far)) == digest(data)


async def close_near_ends(running: Relaying) -> None:
    """Do as the session does at its end."""
    for line in (running.client, running.upstream):
        await anyio.aclose_forcefully(line.near)


async def expect_open(line: Line) -> None:
    """See that a line works both ways, and that nobody has finished."""
    for one, other in ((line.near, line.far), (line.far, line.near)):
        await one.send(b"still open")
        assert await read_exactly(other, 10) == b"still open"


async def expect_no_end(line: Line) -> None:
    """See that the peer at the far end was not told that the other side has finished."""
    await line.near.send(b"no end")
    assert await read_exactly(line.far, 6) == b"no end"


class Early(TypedDict, total=False):
    early_up: bytes
    early_down: bytes


def stuck(direction: Direction) -> Early:
    """Have one direction of a relay wait from its beginning, until its sink is read."""
    return {"early_up": TOO_MUCH} if direction is UP else {"early_down": TOO_MUCH}


async def leave(direction: Direction, running: Relaying, last_words: bytes) -> float:
    """Have the source say its last words and go; return when the relay found out, which it does by sending there."""
    speaker, listener = direction.source(running), direction.sink(running)
    await say(speaker, last_words)
    await speaker.far.aclose()
    found_out_at = trio.current_time()
    await listener.far.send(b"x")
    await trio.sleep(1)
    if direction.back.moved(running.traffic):  # TCP takes what is sent first, and learns from the answer
        found_out_at = trio.current_time()
        await listener.far.send(b"x")
        await trio.sleep(1)
    return found_out_at


# --- a program that leaves


@pytest.mark.parametrize("finishes_first", [False, True])
async def test_a_relay_in_a_hurry_passes_on_what_the_client_has_sent(
    finishes_first: bool,  # noqa: FBT001
    clock: MockClock,
) -> None:
    client, near = memory_stream_pair()
    upstream, far = memory_stream_pair()
    relay = PumpedRelay(near, upstream, Traffic(), idle=math.inf, half_close=60)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run, scope)
            await client.send(b"last words")
            if finishes_first:
                await client.send_eof()
                await wait_all_tasks_blocked()
            relay.hurry()
            if not finishes_first:
                await trio.sleep(1000)
                await client.send_eof()
            assert await read_all(far) == b"last words"
    assert scope.cancelled_caught
    assert relay.outcome is Outcome.HALF_CLOSED
    assert trio.current_time() == (0 if finishes_first else 1000)
