"""The same conversation with a session in the lane and with a task: every byte, reply and log line is the same."""

from __future__ import annotations

import logging
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK
from tests.server.serving import config_of, connect, serving

QUIET = 0.004
"""Seconds in which nothing happens, after which the client goes on; the destination goes on after half of that.

All of them run in one thread, and loopback delivers at once: a busy machine makes no difference.
"""


class Ending(Enum):
    """What the client does last."""

    NOTHING = auto()
    FINISH = auto()
    CLOSE = auto()
    RESET = auto()


class Destination(Enum):
    """How the destination behaves once it has heard something, or the end."""

    ECHO = auto()
    SPEAK_FIRST = auto()
    CLOSE = auto()
    RESET = auto()
    NONE = auto()
    """Nothing listens there."""


@dataclass(frozen=True)
class Conversation:
    """What the client sends, in pieces, and how both ends behave."""

    pieces: tuple[bytes, ...]
    ending: Ending
    destination: Destination
    users: bool


def request5(address: Address, command: int, rsv: int) -> bytes:
    return bytes((5, command, rsv, 1)) + address.packed + address.port.to_bytes(2, "big")


def request4(address: Address, command: int, user: bytes, name: bytes) -> bytes:
    ip = b"\0\0\0\1" if name else address.packed
    return bytes((4, command)) + address.port.to_bytes(2, "big") + ip + user + b"\0" + (name + b"\0" if name else b"")


PORT = b"@P"
"""Stands for the destination's port, which is known when the servers run."""


def with_port(text: bytes, port: int) -> bytes:
    return text.replace(PORT, port.to_bytes(2, "big"))


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Mostly well-formed, cut anywhere, with everything that the lane has to leave to a task among it."""
    host = Address(LOOPBACK, int.from_bytes(PORT, "big"))
    commands = st.sampled_from([1, 1, 1, 1, 1, 1, 2, 3, 0xF0, 9])
    greeting = draw(
        st.sampled_from([b"\5\1\0", b"\5\1\0", b"\5\1\0", b"\5\2\0\2", b"\5\1\2", b"\5\1\7", b"\5\0", b"G"])
    )
    login = draw(st.sampled_from([b"", b"", b"\1\5carol\6secret", b"\1\5carol\5wrong", b"\2"]))
    if draw(st.booleans()):
        name = draw(st.sampled_from([b"", b"", b"127.0.0.1"]))
        said = request4(host, draw(commands), draw(st.sampled_from([b"", b"me"])), name)
    else:
        said = greeting + login + request5(host, draw(commands), draw(st.sampled_from([0, 0, 7])))
    said += draw(st.binary(max_size=300)) if draw(st.booleans()) else b""
    said = said if draw(st.integers(0, 9)) else said[: draw(st.integers(0, len(said)))]
    cuts = sorted(
        draw(st.sets(st.integers(1, max(1, len(said) - 1)), max_size=3)) | natural_cuts(said, greeting, login)
    )
    pieces = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    return Conversation(
        tuple(filter(None, pieces)),
        draw(st.sampled_from(Ending)),
        draw(st.sampled_from(Destination)),
        draw(st.booleans()),
    )


def natural_cuts(said: bytes, greeting: bytes, login: bytes) -> set[int]:
    """Return the places between messages, where a client that waits for answers stops."""
    ends = (len(greeting), len(greeting) + len(login)) if said.startswith(greeting) else ()
    return {end for end in ends if 0 < end < len(said)}


@dataclass
class Heard:
    """What one side has received, and how that ended."""

    data: bytes = b""
    end: str = "open"
    news: trio.Event = field(default_factory=trio.Event, compare=False, repr=False)
    """Set by the first byte, or the end."""
    ended: trio.Event = field(default_factory=trio.Event, compare=False, repr=False)

    async def listen(self, stream: SocketStream) -> None:
        try:
            while True:
                self.data += await stream.receive()
                self.news.set()
        except EndOfStream:
            self.end = "finished"
        except BrokenResourceError:
            self.end = "reset"
        self.news.set()
        self.ended.set()


@asynccontextmanager
async def destination(kind: Destination, heard: Heard) -> AsyncIterator[int]:
    """Accept one connection, and behave; yield the port."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        listening.settimeout(0)
        port = listening.getsockname()[1]
        if kind is Destination.NONE:
            listening.close()
            yield port
            return

        async def serve() -> None:
            await trio.lowlevel.wait_readable(listening)
            sock, _ = listening.accept()
            sock.settimeout(0)
            async with SocketStream(sock) as stream, trio.open_nursery() as nursery:
                nursery.start_soon(heard.listen, stream)
                await behave(stream)
                nursery.cancel_scope.cancel()
            if kind is Destination.RESET:
                heard.end = "left"

        async def behave(stream: SocketStream) -> None:
            if kind is Destination.SPEAK_FIRST:
                await stream.send(b"220 welcome\r\n")
            await heard.news.wait()
            await wait_all_tasks_blocked(QUIET / 2)
            if kind is Destination.RESET:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif kind is Destination.ECHO and heard.end != "reset":
                await stream.send(heard.data)
            if kind not in (Destination.RESET, Destination.CLOSE):
                await heard.ended.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield port
            nursery.cancel_scope.cancel()


async def hold(conversation: Conversation, config: Config, log: pytest.LogCaptureFixture) -> tuple[Heard, Heard, str]:
    """Hold a conversation; return what the client and the destination have heard, and the session's log line."""
    log.clear()
    client_heard, destination_heard = Heard(), Heard()
    async with destination(conversation.destination, destination_heard) as port, serving(config) as server:
        client = connect(server.address)
        client.avoid_delay()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client_heard.listen, client)
            for piece in conversation.pieces:
                try:
                    await client.send(with_port(piece, port))
                except BrokenResourceError:
                    break
                await wait_all_tasks_blocked(QUIET)
            if conversation.ending is Ending.FINISH and client_heard.end == "open":
                await client.send_eof()
            elif conversation.ending is Ending.RESET:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await wait_all_tasks_blocked(QUIET)
            nursery.cancel_scope.cancel()
        if conversation.ending in (Ending.CLOSE, Ending.RESET):
            await client.aclose()
        await wait_all_tasks_blocked(QUIET)
        server.scope.cancel()
        await server.ended.wait()
        await client.aclose()
    lines = [record.getMessage() for record in log.records if record.getMessage().startswith("id=")]
    client_heard.data = re.sub(BOUND, rb"\1PORT", client_heard.data, count=1, flags=re.DOTALL)
    return client_heard, destination_heard, "\n".join(map(masked, lines)).replace(f":{port}", ":PORT")


BOUND = rb"(\x05\x00\x00\x01\x7f\x00\x00\x01|^\x00\x5a).."
"""A reply as far as the port, which is another one each time."""


def masked(line: str) -> str:
    """Return a log line without what differs from session to session."""
    line = re.sub(r"id=\d+ client=\S+", "", line)
    line = re.sub(r"no known protocol \(.*\)", "", line)  # it shows the request, with the destination's port
    return re.sub(r"duration=[\d.]+|\(\d+\.\d+ s", "", line)


CONFIGS = {
    False: config_of(),
    True: replace(config_of(), users=(User("carol", PlainPassword(b"secret")),)),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(conversation=conversations())
def test_both_ways_are_the_same(conversation: Conversation, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    config = CONFIGS[conversation.users]
    by_task = replace(config, server=replace(config.server, lane=False))
    in_lane = trio.run(hold, conversation, config, caplog)
    assert in_lane == trio.run(hold, conversation, by_task, caplog)
