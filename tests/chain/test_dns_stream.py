"""The conversation with a resolver, over streams in memory: in any segments, to any end."""

from __future__ import annotations

import pytest
import trio
from anyio import EndOfStream

from chainsocks.chain import dns_messages
from chainsocks.chain.dns_stream import ask, dialect
from chainsocks.errors import Cause, NotFoundError, ProtocolError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command
from tests.memory import MemoryStream, memory_stream_pair
from tests.resolvers import framed, respond


def questions(host: str, command: Command = Command.RESOLVE) -> list[dns_messages.Question]:
    return list(dns_messages.questions(command, Address(host, 0)))


async def hear(stream: MemoryStream) -> bytes:
    """One message, and no byte more."""
    size = int.from_bytes(await stream.receive(1) + await stream.receive(1), "big")
    data = b""
    while len(data) < size:
        data += await stream.receive(size - len(data))
    return data


async def serve(stream: MemoryStream, piece: int, heard: list[bytes]) -> None:
    """Answer to the end, in pieces of so many bytes."""
    try:
        while True:
            heard.append(await hear(stream))
            answer = framed(respond(heard[-1]))
            for start in range(0, len(answer), piece):
                await stream.send(answer[start : start + piece])
    except EndOfStream:
        return


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("host", "command", "found", "count"),
    [
        ("four.example", Command.RESOLVE, "192.0.2.4", 1),
        ("six.example", Command.RESOLVE, "2001:db8::6", 2),
        ("both.example", Command.RESOLVE, "192.0.2.64", 1),
        ("192.0.2.4", Command.RESOLVE_PTR, "four.example", 1),
    ],
)
async def test_no_more_is_asked_than_it_takes(
    host: str, command: Command, found: str, count: int, piece: int, nursery: trio.Nursery
) -> None:
    ours, theirs = memory_stream_pair()
    heard: list[bytes] = []
    nursery.start_soon(serve, theirs, piece, heard)
    assert await ask(ours, b"", questions(host, command)) == found
    assert len(heard) == count
    assert ours.incoming.buffer == b""


async def test_what_has_come_already_comes_first(autojump_clock: trio.testing.MockClock) -> None:
    asked = questions("six.example")
    answers = b"".join(framed(respond(question.message)) for question in asked)
    for cut in range(len(answers) + 1):
        ours, theirs = memory_stream_pair()
        await theirs.send(answers[cut:])
        with trio.fail_after(1):
            assert await ask(ours, answers[:cut], asked) == "2001:db8::6"


@pytest.mark.parametrize(
    ("host", "problem"),
    [("mail.example", "it knows the name, and has nothing of that kind"), ("none.example", "no such name")],
)
async def test_nothing_found(host: str, problem: str, nursery: trio.Nursery) -> None:
    ours, theirs = memory_stream_pair()
    nursery.start_soon(serve, theirs, 1000, [])
    with pytest.raises(NotFoundError, match=problem) as caught:
        await ask(ours, b"", questions(host))
    assert caught.value.cause is Cause.NAME_NOT_FOUND


@pytest.mark.parametrize("sent", [0, 1, 2, 20])
async def test_it_leaves(sent: int) -> None:
    asked = questions("four.example")
    ours, theirs = memory_stream_pair()
    await theirs.send(framed(respond(asked[0].message))[:sent])
    await theirs.send_eof()
    where = f", {sent} bytes into an answer" if sent else ""
    with pytest.raises(ProtocolError, match=f"^it closed the connection{where}$"):
        await ask(ours, b"", asked)


async def test_it_resets() -> None:
    ours, theirs = memory_stream_pair()
    theirs.reset()
    with pytest.raises(ProtocolError, match=r"^the connection was reset$"):
        await ask(ours, b"", questions("four.example"))


def test_the_module_that_knows_dns() -> None:
    assert dialect() is dns_messages
