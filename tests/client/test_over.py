"""A dial along a stream that the caller has opened."""

from __future__ import annotations

import anyio
import pytest
from anyio import ClosedResourceError
from anyio.abc import SocketStream

import chainsocks
from chainsocks import Chain, Group, Hop
from chainsocks.client.over import Over
from chainsocks.protocol.address import UNSPECIFIED, Address
from tests.background import PATIENCE, Background, Script
from tests.client.running import run

GRANTED = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38"
NAME = "far.example"
"""A name that has no address here: a lookup would fail."""


async def open_to(address: Address) -> SocketStream:
    return await anyio.connect_tcp(address.host, address.port)


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_bytes_go_along_the_stream(backend: str, background: Background, hops: int) -> None:
    """The first hop, or the destination, is at the end of the stream, whatever its address is."""
    answers = [b"\x05\x00", GRANTED] * hops
    script = Script(*answers, b"hello")
    address = background.listen(script)

    async def go() -> bytes:
        over = await open_to(address)
        chain = Chain(*[f"socks5://{NAME}:1", "socks5://other.example:2"][:hops])
        async with await chainsocks.connect_tcp(NAME, 25, chain=chain, over=over) as stream:
            await stream.send(b"who?")
            return await stream.receive()

    assert run(backend, go) == b"hello"
    assert script.left.wait(PATIENCE)


def test_names_that_a_hop_is_not_to_see_are_looked_up(backend: str, background: Background, asked: list[bytes]) -> None:
    script = Script(b"\x05\x00", GRANTED)
    address = background.listen(script)

    async def go() -> None:
        over = await open_to(address)
        chain = Chain(Hop("a", "socks5", "near.example:1", resolve="local"))
        async with await chainsocks.connect_tcp("near.example", 25, chain=chain, over=over):
            pass

    run(backend, go)
    assert asked == [b"near.example"]
    assert script.heard[1] == b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x19"


def test_a_failure_closes_the_stream(backend: str, background: Background) -> None:
    address = background.listen(Script(b"\x05\xff"))

    async def go() -> None:
        over = await open_to(address)
        with pytest.raises(chainsocks.HopAuthenticationError):
            await chainsocks.connect_tcp(NAME, 25, chain=Chain("socks5://a"), over=over)
        with pytest.raises(ClosedResourceError):
            await over.send(b"more")

    run(backend, go)


def test_what_one_stream_cannot_do(backend: str, background: Background) -> None:
    address = background.listen(Script())

    async def go() -> None:
        async with await open_to(address) as over:
            with pytest.raises(ValueError, match="the chain has a choice of ways; give a chain without groups"):
                await chainsocks.connect_tcp(NAME, 25, chain=Chain(Group("socks5://a")), over=over)
            with pytest.raises(ValueError, match="give one of them"):
                await chainsocks.connect_tcp(NAME, 25, over=over, local_host="127.0.0.1")
            network = Over(over)
            assert await network.resolve(Address(NAME, 1)) == [UNSPECIFIED]
            assert await network.open_tcp(UNSPECIFIED) is over
            with pytest.raises(OSError, match="the stream of over= is in use"):
                await network.open_tcp(UNSPECIFIED)

    run(backend, go)
