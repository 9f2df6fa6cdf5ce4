"""Parting with a client."""

from __future__ import annotations

import pytest
import trio
from anyio import EndOfStream
from trio.testing import MockClock

from chainsocks.session.lingering_close import LEFTOVERS, LINGER, linger_and_close
from tests.memory import memory_stream_pair


@pytest.mark.parametrize(("seconds", "waited"), [(2, 2), (60, LINGER)])
async def test_a_client_that_stays_has_so_long(seconds: float, waited: float, autojump_clock: MockClock) -> None:
    client, ours = memory_stream_pair()
    began = trio.current_time()
    await linger_and_close(ours, seconds)
    assert trio.current_time() - began == waited
    with pytest.raises(EndOfStream):
        await client.receive()


async def test_a_client_that_leaves_is_not_waited_for(autojump_clock: MockClock) -> None:
    for leave in ("aclose", "reset"):
        client, ours = memory_stream_pair()
        await client.send(b"something we do not read any more")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(linger_and_close, ours, 60)
            await trio.sleep(1)
            if leave == "aclose":
                await client.aclose()
            else:
                client.reset()
        assert trio.current_time() - began == 1


async def test_a_client_that_talks_on_and_on_is_heard_only_so_far(autojump_clock: MockClock) -> None:
    client, ours = memory_stream_pair(2 * LEFTOVERS)
    await client.send(bytes(2 * LEFTOVERS))
    began = trio.current_time()
    await linger_and_close(ours, 60)
    assert trio.current_time() == began
    assert LEFTOVERS <= 2 * LEFTOVERS - len(ours.incoming.buffer) < LEFTOVERS + 65536
