"""The time of one call of the library."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.lowlevel
import pytest

import chainsocks
from chainsocks import Chain, Group, Timeouts
from chainsocks.client.call import Call
from chainsocks.protocol.handshake import State
from tests.background import Background, Script
from tests.client.running import run

CALLS: dict[str, Callable[..., Awaitable[object]]] = {
    "connect_tcp": partial(chainsocks.connect_tcp, "far.example", 9),
    "bind_tcp": partial(chainsocks.bind_tcp, "192.0.2.1"),
    "open_udp": chainsocks.open_udp,
    "resolve": partial(chainsocks.resolve, "far.example"),
    "resolve_ptr": partial(chainsocks.resolve_ptr, "192.0.2.1"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("in_a_group", [False, True], ids=["", "group"])
def test_a_call_ends_with_its_timeout_and_names_the_hop(
    backend: str,
    background: Background,
    name: str,
    in_a_group: bool,  # noqa: FBT001
) -> None:
    hop = chainsocks.Hop("mute", "socks5", background.listen(Script()), tor=True)

    async def go() -> None:
        await CALLS[name](chain=Chain(Group(hop) if in_a_group else hop), timeout=0.1)

    with pytest.raises(chainsocks.DialTimeout) as caught:
        run(backend, go)
    error = caught.value
    assert (error.place.hop, error.place.step, error.limit) == ("mute", State.METHOD_NEGOTIATION, 0.1)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [0, -1, "5", math.nan, True])
def test_what_is_no_timeout(backend: str, name: str, wrong: object) -> None:
    async def go() -> None:
        await CALLS[name](timeout=wrong)

    with pytest.raises(ValueError, match=r"^the timeout is .*; write a number of seconds that is more than 0"):
        run(backend, go)


@pytest.mark.parametrize(
    ("own", "limits", "timeout", "dial"),
    [(None, 30, 5, 5), (None, 3, 5, None), (2, 30, 5, 2), (20, 30, 5, 5), (math.inf, 30, 5, 5), (None, 30, None, None)],
)
def test_the_shortest_limit_holds(
    backend: str, own: float | None, limits: float, timeout: float | None, dial: float | None
) -> None:
    async def go() -> Chain:
        await anyio.lowlevel.checkpoint()
        return Call(Chain("socks5://a", dial=own), Timeouts(dial=limits), timeout).chain

    chain = run(backend, go)
    assert chain.dial == dial
    assert chain.route
    assert chain.route.chain is chain


def test_what_is_left_after_the_dial(backend: str) -> None:
    async def go() -> tuple[float, float, float]:
        await anyio.lowlevel.checkpoint()
        free, bounded, late = (Call(chainsocks.DIRECT, None, timeout) for timeout in (None, 5, 1e-9))
        await anyio.sleep(0.001)
        return free.left(10), bounded.left(10), late.left(10)

    free, bounded, late = run(backend, go)
    assert (free, late) == (10, 0)
    assert 0 < bounded < 5
