"""A name server over UDP and TCP, whose answers are its questions backwards."""

from __future__ import annotations

import socket

import pytest
import trio

from chainsocks.server.name_server import MOST_LATER, MOST_STREAMS, Later, serve_datagrams, serve_streams


def answer(message: bytes) -> bytes | Later | None:
    async def later() -> bytes | None:
        await trio.sleep(message.count(b"z"))
        return None if message == b"later: none" else HEADER + b"\0\0\1\0\1" + message

    if message.startswith(b"later"):
        return later
    return None if message in (b"", b"silence") else message[::-1]


HEADER = b"\0\1\x81\x80\0\1\0\1\0\0\0\0"


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


@pytest.fixture
def address(nursery: trio.Nursery) -> tuple[str, int]:
    stream, datagrams = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(stream.getsockname())
    for sock in (stream, datagrams):
        sock.settimeout(0)
    nursery.start_soon(serve_streams, stream, answer, 60, 100)
    nursery.start_soon(serve_datagrams, datagrams, answer, 100)
    name: tuple[str, int] = stream.getsockname()
    return name


async def test_datagrams(address: tuple[str, int]) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        await client.connect(address)
        for message in (b"silence", b"one", b"two"):
            await client.send(message)
        assert [await client.recv(100), await client.recv(100)] == [b"eno", b"owt"]


async def test_a_client_that_is_gone_does_not_end_it(address: tuple[str, int]) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        await client.sendto(b"one", address)
    await test_datagrams(address)


async def test_what_is_answered_later(address: tuple[str, int], autojump_clock: trio.testing.MockClock) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        await client.connect(address)
        for message in (b"later zz", b"later z", b"later: none", b"later " + b"z" * 101, b"later" + bytes(600)):
            await client.send(message)
        found = [(await client.recv(1000)) for _ in range(3)]
    assert found[0][:4] == b"\0\1\x83\x80"  # truncated
    assert found[0][4:] == b"\0\1\0\0\0\0\0\0\0\0\1\0\1"
    assert [each[17:] for each in found[1:]] == [b"later z", b"later zz"]
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(framed(b"later" + b"z" * 70) + framed(b"later" + bytes(600)))
        assert await stream.receive_some() == framed(HEADER + b"\0\0\1\0\1later" + b"z" * 70)
        assert len(await stream.receive_some()) == 2 + 17 + 605
        await stream.send_all(framed(b"later" + b"z" * 101))
        assert await stream.receive_some() == b""


async def test_no_more_wait_than_there_are_places(
    address: tuple[str, int], autojump_clock: trio.testing.MockClock
) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        await client.connect(address)
        for _ in range(MOST_LATER + 1):
            await client.send(b"later z")
            await trio.testing.wait_all_tasks_blocked()
        await client.send(b"one")
        assert await client.recv(100) == b"eno"
        assert len([await client.recv(100) for _ in range(MOST_LATER)]) == MOST_LATER
        await client.send(b"two")
        assert await client.recv(100) == b"owt"


async def test_questions_on_a_stream_in_any_pieces(address: tuple[str, int]) -> None:
    async with await trio.open_tcp_stream(*address) as stream:
        for data in (framed(b"one")[:1], framed(b"one")[1:3], framed(b"one")[3:] + framed(b"two") + framed(b"six")[:2]):
            await stream.send_all(data)
        await stream.send_all(b"six")
        await stream.send_eof()
        received = b"".join([data async for data in stream])
    assert received == framed(b"eno") + framed(b"owt") + framed(b"xis")


@pytest.mark.parametrize("data", [framed(b"silence"), b"\0\0", b"\0", framed(b"one")[:3], b""])
async def test_what_gets_no_answer_ends_the_stream(address: tuple[str, int], data: bytes) -> None:
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(data)
        if data != framed(b"silence"):
            await stream.send_eof()
        assert await stream.receive_some() == b""


async def test_a_silent_stream_is_ended_in_time(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0)
    nursery.start_soon(serve_streams, listening, answer, 60, 100)
    async with await trio.open_tcp_stream(*listening.getsockname()) as stream:
        await stream.send_all(b"\0")
        assert await stream.receive_some() == b""
    assert trio.current_time() == 60


async def test_further_streams_wait_for_a_place(address: tuple[str, int]) -> None:
    async with trio.open_nursery() as nursery:
        streams = [await trio.open_tcp_stream(*address) for _ in range(MOST_STREAMS)]
        for stream in streams:
            await stream.send_all(framed(b"one"))
            assert await stream.receive_some() == framed(b"eno")
        answers = []

        async def ask() -> None:
            async with await trio.open_tcp_stream(*address) as late:
                await late.send_all(framed(b"late"))
                answers.append(await late.receive_some())

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert answers == []
        for stream in streams:
            await stream.aclose()
    assert answers == [framed(b"etal")]
