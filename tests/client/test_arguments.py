"""`chain` and `timeouts` of every call: anything else is an error at once, and None is no chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

import chainsocks
from chainsocks import Chain, Group, Timeouts
from chainsocks.client.arguments import checked_chain, checked_timeouts
from chainsocks.config.hops import parse_hop_url
from tests.client.running import run

URL = "socks5://alice:wonder%2Fland@127.0.0.1:1080"

CALLS: dict[str, Callable[..., Awaitable[object]]] = {
    "connect_tcp": partial(chainsocks.connect_tcp, "127.0.0.1", 9),
    "bind_tcp": chainsocks.bind_tcp,
    "open_udp": chainsocks.open_udp,
    "resolve": partial(chainsocks.resolve, "127.0.0.1"),
    "resolve_ptr": partial(chainsocks.resolve_ptr, "127.0.0.1"),
}


async def call(name: str, options: dict[str, object]) -> None:
    await CALLS[name](**options)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_chain_and_no_limits(backend: str, name: str) -> None:
    hop = parse_hop_url(URL)
    chains: list[object] = [None, URL, [URL], hop, Group(hop), Chain, "direct", 7, {"hops": [URL]}]
    for wrong in chains:
        with pytest.raises(ValueError, match=r"^the chain is .*; write chain=chainsocks.Chain\(") as caught:
            run(backend, call, name, {"chain": wrong})
        assert "wonder" not in str(caught.value)
    limits: list[object] = [5, "5", {"dial": 5}, 0, False, Timeouts]
    for wrong in limits:
        with pytest.raises(ValueError, match=r"^the timeouts are .*; write timeouts=chainsocks.Timeouts\("):
            run(backend, call, name, {"timeouts": wrong})


def test_what_is_one_is_returned() -> None:
    chain, timeouts = Chain(URL), Timeouts(dial=5)
    assert checked_chain(chain) is chain
    assert checked_timeouts(timeouts) is timeouts
    assert checked_timeouts(None) == Timeouts()
