"""Sessions that have ended leave nothing behind: no cycle for the garbage collector, no object in the heap."""

from __future__ import annotations

import gc
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace

import pytest
from trio.testing import wait_all_tasks_blocked

from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config, Timeouts
from chainsocks.net.polled import PolledStream
from chainsocks.observe.record import Record
from chainsocks.relay.flow import Flow
from chainsocks.relay.relay import Relay
from tests.net.sockets import read_exactly
from tests.server.serving import config_of, connect, echoing, open_session, serving

SESSIONS = 10
KINDS = (Relay, Flow, Record, PolledStream)


def counted() -> Counter[type]:
    """Count the objects of sessions."""
    return Counter(type(each) for each in gc.get_objects() if type(each) in KINDS)


@contextmanager
def collecting() -> Iterator[list[object]]:
    """Yield what the garbage collector finds at the end of the block, and keep it from running before."""
    gc.collect()
    gc.disable()
    garbage: list[object] = []
    try:
        yield garbage
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def config() -> Config:
    """Configure a server with deadlines that are far away."""
    return replace(config_of(), timeouts=Timeouts())


def through(address: str) -> Config:
    """Configure a server whose chain has one hop."""
    hop = Hop("hop", HopProtocol.SOCKS5, address)
    return replace(config(), hops={"hop": hop}, chains={"default": Chain(hop)})


@pytest.mark.usefixtures("each_session_way")
@pytest.mark.parametrize("hops", [0, 1])
async def test_sessions_that_have_ended_leave_nothing_behind(hops: int) -> None:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(echoing())
        server = await stack.enter_async_context(serving(config()))
        if hops:
            server = await stack.enter_async_context(serving(through(server.address)))

        async def run_session() -> None:
            async with connect(server.address) as client:
                await open_session(client, target)
                await client.send(b"x")
                assert await read_exactly(client, 1) == b"x"
            await wait_all_tasks_blocked(0.01)

        await run_session()  # what the first one loads stays
        before = counted()
        with collecting() as garbage:
            for _ in range(SESSIONS):
                await run_session()
        left = [type(each).__name__ for each in garbage if type(each).__module__.startswith("chainsocks.")]
        left += [each.__qualname__ for each in garbage if isinstance(each, types.FunctionType | types.CoroutineType)]
        assert Counter(left) == {}
        kept = counted() - before
        assert all(kept[kind] <= 2 for kind in KINDS), "the last event of a session may still refer to it"
