"""The stream that a user gets: of one type whatever the timing, with every byte of the destination, in its socket."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest
import trio
from anyio import EndOfStream
from anyio.abc import ByteStream, SocketAttribute

import chainsocks
from chainsocks import Address, Chain
from tests.background import Background, running_background
from tests.client.running import run

HELLO = b"220 far.example ready\r\n"
IPV4, IPV6, NAME = b"\x01\x0a\x00\x00\x01", b"\x04" + bytes(16), b"\x03\x0bfar.example"
EMPTY_NAME = b"\x03\x00"


def granted(bound: bytes = IPV4) -> bytes:
    return b"\x05\x00\x00" + bound + b"\x04\x38"


class Eager:
    """A hop that sends all of its answers at the first message, in pieces of some size, and then hears the client."""

    def __init__(self, answers: bytes, piece: int) -> None:
        self._answers = answers
        self._piece = piece

    async def __call__(self, stream: trio.SocketStream) -> None:
        await stream.receive_some()
        stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(self._answers), self._piece):
            await stream.send_all(self._answers[start : start + self._piece])
            if self._piece < len(self._answers):
                await trio.sleep(0.001)
        while await stream.receive_some():
            pass


async def all_of(stream: ByteStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive()
    return data


async def hear(chain: Chain, timing: str) -> tuple[type[ByteStream], bytes]:
    async with await chainsocks.connect_tcp("far.example", 25, chain=chain) as stream:
        assert isinstance(stream, chainsocks.ChainStream)
        assert stream.extra(SocketAttribute.raw_socket).fileno() >= 0
        return type(stream), await all_of(stream, len(HELLO)) if timing != "silent" else b""


WAYS = {
    "socks4": ("socks4a://{}", b"\x00\x5a\x04\x38\x0a\x00\x00\x01"),
    "socks5": ("socks5://{}", b"\x05\x00" + granted()),
    "login": ("socks5://u:p@{}", b"\x05\x02\x01\x00" + granted()),
    "login not wanted": ("socks5://u:p@{}", b"\x05\x00" + granted()),
    "ipv6": ("socks5://{}", b"\x05\x00" + granted(IPV6)),
    "name": ("socks5://{}", b"\x05\x00" + granted(NAME)),
    "empty name": ("socks5://{}", b"\x05\x00" + granted(EMPTY_NAME)),
}


@pytest.mark.parametrize("pipeline", ["off", "hop", "chain"])
@pytest.mark.parametrize(("url", "answers"), WAYS.values(), ids=WAYS)
def test_one_type_and_every_byte(
    backend: str, background: Background, url: str, answers: bytes, pipeline: chainsocks.Pipeline
) -> None:
    if url == "socks5://u:p@{}" and answers[1] == 0 and pipeline != "off":
        return  # a login that is sent at once has to be wanted
    kinds = {run(backend, kind_of_direct, background.listen(Eager(b"", 1)))}
    for timing, sent, piece in (
        ("with the reply", answers + HELLO, 1000),
        ("byte by byte", answers + HELLO, 1),
        ("in odd pieces", answers + HELLO, 3),
        ("silent", answers, 1000),
    ):
        chain = Chain(url.format(background.listen(Eager(sent, piece))), pipeline=pipeline)
        kind, heard = run(backend, hear, chain, timing)
        assert heard == (HELLO if timing != "silent" else b""), timing
        kinds.add(kind)
    assert len(kinds) == 1


async def kind_of_direct(address: Address) -> type[ByteStream]:
    async with await chainsocks.connect_tcp(address.host, address.port) as stream:
        return type(stream)


@pytest.mark.parametrize("pipeline", ["off", "hop", "chain"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_through_several_hops(
    backend: str, background: Background, proxies: Sequence[Address], count: int, pipeline: chainsocks.Pipeline
) -> None:
    """Our own servers, and a destination that speaks first."""

    async def speak(stream: trio.SocketStream) -> None:
        await stream.send_all(HELLO)
        while await stream.receive_some():
            pass

    target = background.listen(speak)

    async def go() -> tuple[type[ByteStream], bytes]:
        chain = Chain(*(f"socks5://{proxy}" for proxy in proxies[:count]), pipeline=pipeline)
        async with await chainsocks.connect_tcp(target.host, target.port, chain=chain) as stream:
            return type(stream), await all_of(stream, len(HELLO))

    assert run(backend, go) == (run(backend, kind_of_direct, target), HELLO)


@pytest.fixture(scope="module")
def proxies(background: Background) -> list[Address]:
    return [background.proxy() for _ in range(3)]


def test_all_answers_of_a_pipelined_chain_in_one_segment(backend: str, background: Background) -> None:
    answers = (b"\x05\x00" + granted(NAME)) * 3
    address = background.listen(Eager(answers + HELLO, 1000))
    chain = Chain(f"socks5://{address}", "socks5://b.example", "socks5://c.example", pipeline="chain")
    kind, heard = run(backend, hear, chain, "with the reply")
    assert (kind, heard) == (run(backend, kind_of_direct, address), HELLO)


def test_the_socket_itself_has_every_byte() -> None:
    """Under trio, whose sockets are read when the user reads; asyncio reads ahead into the stream."""

    async def go(address: Address) -> bytes:
        async with await chainsocks.connect_tcp("far.example", 25, chain=Chain(f"socks5://{address}")) as stream:
            raw = stream.extra(SocketAttribute.raw_socket)
            await trio.lowlevel.wait_readable(raw)
            return raw.recv(100)

    with running_background() as background:
        assert run("trio", go, background.listen(Eager(b"\x05\x00" + granted() + HELLO, 1000))) == HELLO


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_a_peer_of_bind_that_speaks_at_once(backend: str, background: Background, piece: int) -> None:
    address = background.listen(Eager(b"\x05\x00" + granted() + granted(NAME) + HELLO, piece))

    async def go() -> tuple[type[ByteStream], bytes]:
        async with await chainsocks.bind_tcp(chain=Chain(f"socks5://{address}")) as bound:
            stream = await bound.accept()
        async with stream:
            return type(stream), await all_of(stream, len(HELLO))

    assert run(backend, go) == (run(backend, kind_of_direct, address), HELLO)


@pytest.mark.parametrize("url", ["socks5://{}", "socks4a://{}", "socks5://u:p@{}"])
@pytest.mark.parametrize("pipeline", ["off", "hop"])
@pytest.mark.parametrize("opening", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03"])
def test_what_is_not_socks_is_shown(
    backend: str, background: Background, url: str, pipeline: chainsocks.Pipeline, opening: bytes
) -> None:
    class Foreign(Eager):
        async def __call__(self, stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(self._answers)

    chain = Chain(url.format(background.listen(Foreign(opening, 1000))), pipeline=pipeline)
    shown = opening.partition(b"\r")[0].decode() if opening[0] != 0x16 else "TLS"
    with pytest.raises(chainsocks.HopProtocolError) as caught:
        run(backend, hear, chain, "silent")
    assert shown in str(caught.value)


def test_the_end_of_the_destination_behind_the_reply(backend: str, background: Background) -> None:
    class Brief(Eager):
        async def __call__(self, stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(self._answers)
            await stream.send_eof()
            while await stream.receive_some():
                pass

    address = background.listen(Brief(b"\x05\x00" + granted() + HELLO, 1000))

    async def go() -> bytes:
        async with await chainsocks.connect_tcp("far.example", 25, chain=Chain(f"socks5://{address}")) as stream:
            data = await all_of(stream, len(HELLO))
            with pytest.raises(EndOfStream):
                await stream.receive()
            return data

    assert run(backend, go) == HELLO
