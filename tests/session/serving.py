"""A session over streams in memory: its client, the network that it dials into, and a hop that is a server of ours."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.choices import NamesOnly
from chainsocks.config.hops import Hop
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.observe.counters import Counters
from chainsocks.observe.events import Events
from chainsocks.protocol.address import Address
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork, memory_stream_pair

DESTINATION = Address("192.0.2.80", 80)
CONNECT5 = "05 01 00 01 c0000250 0050"
CONNECT4 = "04 01 0050 c0000250 00"
GRANTED5 = "05 00 00 01 00000000 0000"
GRANTED4 = "00 5a 0000 00000000"
BIND5 = "05 01 00 05 02 00 01 c0000250 0014"
SECOND5 = "05 00 00 01 c0000250 0014"
CAROL = User("carol", PlainPassword(b"open sesame"))
LOGIN = b"\x01\x05carol\x0bopen sesame"


async def echo(stream: MemoryStream) -> None:
    try:
        while True:
            await stream.send(await stream.receive())
    except EndOfStream:
        await stream.send_eof()


@dataclass
class Client:
    """The far end of a session."""

    stream: MemoryStream
    network: MemoryNetwork
    log: pytest.LogCaptureFixture

    async def send(self, *messages: str | bytes) -> None:
        await self.stream.send(b"".join(m if isinstance(m, bytes) else bytes.fromhex(m) for m in messages))

    async def expect(self, message: str | bytes) -> None:
        wanted = message if isinstance(message, bytes) else bytes.fromhex(message)
        got = b""
        while len(got) < len(wanted):
            got += await self.stream.receive(len(wanted) - len(got))
        assert got == wanted

    async def expect_end(self) -> None:
        with pytest.raises(EndOfStream):
            await self.stream.receive()

    @property
    def line(self) -> str:
        """The session's one line in the log."""
        return self._record.getMessage()

    @property
    def level(self) -> int:
        """How bad the log says it is."""
        return self._record.levelno

    @property
    def lines(self) -> list[str]:
        """The lines of all sessions that its connection had."""
        return [line for record in self.log.records if (line := record.getMessage()).startswith("id=")]

    @property
    def _record(self) -> logging.LogRecord:
        [record] = [record for record in self.log.records if record.getMessage().startswith("id=")]
        return record


@asynccontextmanager
async def session(
    caplog: pytest.LogCaptureFixture,
    config: Config | None = None,
    names_only: NamesOnly = NamesOnly.OFF,
    listen: str = "127.0.0.1",
    events: tuple[Events, ...] = (),
    counters: Counters | None = None,
    **hosts: Host,
) -> AsyncIterator[Client]:
    """Serve one client; at the end of the block its session must have ended too, with nothing left open."""
    caplog.set_level(logging.INFO, "chainsocks")
    near, far = memory_stream_pair()
    listener = Listener(Address(listen, 1080), names_only=names_only)
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, {DESTINATION: hosts.get("destination", Host(echo))})
        config = config or Config()
        service = Service(config, Logins(config.users), network, events, counters)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_all, Connection(far, "192.0.2.1:5555", "192.0.2.1", listener), service)
            yield Client(near, network, caplog)
            await near.aclose()
        assert far.closed
        assert network.left_open == []
        handlers.cancel_scope.cancel()


async def serve_all(connection: Connection, service: Service) -> None:
    """Serve the sessions of a connection, as a server does that has nothing else to do."""
    while kept := await serve_session(connection, service):
        connection = kept
        assert connection.earlier
        if not connection.earlier.heard:
            try:
                heard = await connection.earlier.client.receive()
            except (BrokenResourceError, EndOfStream):
                await connection.client.aclose()
                return
            connection = connection._replace(earlier=connection.earlier._replace(heard=heard))


def add_own_hop(network: MemoryNetwork, hop: Hop) -> MemoryNetwork:
    """Put a hop into the network that is a server of ours; return the network as this one sees it."""
    own = WatchedNetwork(network, hop.address.host)
    service = Service(Config(), Logins(()), own)
    network.hosts[hop.address] = Host(lambda stream: serve_all(Connection(stream, hop.name), service))
    return own
