"""Streams of trio's own kind."""

from __future__ import annotations

import ssl

import pytest
import trio
import trio.testing
from anyio.abc import SocketAttribute

import chainsocks
from chainsocks import Chain, TrioStream
from chainsocks.network import reset_on_close
from tests.background import Background, Script
from tests.client.running import run


async def shout(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data.upper())
    await stream.send_eof()


def test_a_stream_of_trios(background: Background) -> None:
    target, hop = background.listen(shout), background.proxy()

    async def go() -> None:
        async with await chainsocks.open_trio_stream(
            target.host, target.port, chain=Chain(f"socks5://{hop}"), timeout=5
        ) as stream:
            assert isinstance(stream, trio.abc.HalfCloseableStream)
            await stream.wait_send_all_might_not_block()
            await stream.send_all(bytearray(b"hello"))
            assert await stream.receive_some(2) == b"HE"
            assert await stream.receive_some() == b"LLO"
            assert [hop.name for hop in stream.hops] == [str(hop)]
            assert (str(stream.route), stream.bound.host) == (str(hop), "127.0.0.1")
            with pytest.raises(ValueError, match="max_bytes"):
                await stream.receive_some(0)
            await stream.send_eof()
            assert await stream.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    run("trio", go)


def test_errors_are_trios(background: Background) -> None:
    script = Script(b"more")
    target = background.listen(script)

    async def go() -> None:
        async with await chainsocks.open_trio_stream(target.host, target.port) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.receive_some)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await stream.receive_some()
                nursery.cancel_scope.cancel()
            inner = stream._stream
            reset_on_close(inner)
            inner.extra(SocketAttribute.raw_socket).shutdown(2)
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"more")

    run("trio", go)


def test_trio_speaks_tls_over_it(background: Background) -> None:
    """As over any of its streams: the type is that of `trio.SSLStream`'s argument."""

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"no TLS here")

    target = background.listen(refuse)

    async def go() -> None:
        stream: TrioStream = await chainsocks.open_trio_stream(target.host, target.port)
        async with stream:
            secured = trio.SSLStream(stream, ssl.create_default_context(), server_hostname="a.example")
            with pytest.raises(trio.BrokenResourceError):
                await secured.do_handshake()

    run("trio", go)
