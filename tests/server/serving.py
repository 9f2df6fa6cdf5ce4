"""A server at work on real loopback sockets, its clients, and a destination for them."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server, Timeouts
from chainsocks.net.stream import SocketStream
from chainsocks.observe.counters import Counters
from chainsocks.observe.events import Events
from chainsocks.protocol.address import Address, parse_address
from chainsocks.server.serve import serve
from tests.net.sockets import LOOPBACK, read_exactly

__all__ = [
    "ANY_PORT",
    "Serving",
    "config_of",
    "connect",
    "echoing",
    "greet",
    "is_served",
    "open_session",
    "said",
    "serving",
]

ANY_PORT = Listener(Address(LOOPBACK, 0))


def config_of(*listen: Listener, max_sessions: int = 100, grace: float = 10) -> Config:
    """Configure a direct server whose sessions have no limit but `grace`, so that they last as long as a test wants."""
    off = math.inf
    timeouts = Timeouts(handshake=off, connect=off, dial=off, idle=off, half_close=off, grace=grace)
    return Config(Server(listen=listen or (ANY_PORT,), max_sessions=max_sessions, keepalive=off), timeouts)


@dataclass(slots=True)
class Serving:
    """A server at work."""

    addresses: Sequence[str] = ()
    stopping: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    ended_at: float = math.nan

    @property
    def address(self) -> str:
        """The address of the first listener."""
        return self.addresses[0]


@asynccontextmanager
async def serving(config: Config, *events: Events, counters: Counters | None = None) -> AsyncIterator[Serving]:
    """Run a server in the background; at the end it is asked to stop, and waited for."""
    server = Serving()

    async def run(task_status: trio.TaskStatus[Sequence[str]]) -> None:
        with server.scope:
            await serve(config, server.stopping, events=events, counters=counters, task_status=task_status)
        server.ended_at = trio.current_time()
        server.ended.set()

    async with trio.open_nursery() as nursery:
        server.addresses = await nursery.start(run)
        yield server
        server.stopping.set()


def connect(address: str) -> SocketStream:
    """Connect to a listener, by the address that the server tells. It need not accept for that."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        target: str | tuple[str, int] = address.removeprefix("unix:")
    else:
        parsed = parse_address(address)
        sock = socket.socket(socket.AF_INET6 if ":" in parsed.host else socket.AF_INET)
        target = (parsed.host, parsed.port)
    try:
        sock.connect(target)
    except BaseException:
        sock.close()
        raise
    sock.settimeout(0)
    return SocketStream(sock)


GREETING, WELCOME = bytes.fromhex("05 01 00"), bytes.fromhex("05 00")


async def greet(client: SocketStream) -> None:
    """Begin a session: offer no authentication, which is accepted."""
    await client.send(GREETING)
    assert await read_exactly(client, len(WELCOME)) == WELCOME


async def is_served(client: SocketStream) -> bool:
    """Tell whether a client that has greeted is answered within 0.4 s of virtual time."""
    with trio.move_on_after(0.4):
        return await read_exactly(client, len(WELCOME)) == WELCOME
    return False


async def open_session(client: SocketStream, destination: Address) -> None:
    """Have the server connect to an IPv4 address."""
    await greet(client)
    await client.send(bytes.fromhex("05 01 00 01") + destination.packed + destination.port.to_bytes(2, "big"))
    reply = await read_exactly(client, 10)
    assert reply[:2] == bytes.fromhex("05 00")


@asynccontextmanager
async def echoing() -> AsyncIterator[Address]:
    """Run a destination that sends back what it receives."""

    async def echo(stream: trio.SocketStream) -> None:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # the server was told to leave

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, echo, 0, host=LOOPBACK))
        yield Address(LOOPBACK, listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def said(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what was logged at one level."""
    return [record.getMessage() for record in log.records if record.levelno == level]
