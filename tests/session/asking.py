"""A session in memory that is asked for one thing through a chain: what its client gets, and when."""

from __future__ import annotations

import trio
from anyio import EndOfStream

from chainsocks.config.models import Config, Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.memory import MemoryNetwork, MemoryStream, WatchedNetwork, memory_stream_pair

TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=30, bind=7)
DESTINATION = Address("example.org", 80)
NAMES = ("paris", "osaka", "lima")


async def ask_a_session(
    network: MemoryNetwork, config: Config, request: bytes = b"", command: Command = Command.CONNECT
) -> tuple[bytes, float]:
    """Have a session serve one client; return the last reply it gets, and when. Nothing of the session may remain."""
    network = WatchedNetwork(network)
    client, ours = memory_stream_pair(label="client")
    ours.ends = (network.host, 1080), ("192.0.2.1", 5555)
    service = Service(config, Logins(()), network)
    began = answered = trio.current_time()
    answers = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, Connection(ours, "the client"), service)
        await client.send(request or b"\x05\x01\x00")
        if not request:
            assert await client.receive() == b"\x05\x00"
            ip = command is Command.RESOLVE_PTR  # the only one that no name will do for
            host = b"\x01\xc0\x00\x02\x50" if ip else b"\x03\x0bexample.org"
            await client.send(bytes((5, command, 0)) + host + b"\x00\x50")
        try:
            while True:
                answers += await client.receive()
                answered = trio.current_time()
        except EndOfStream:
            await client.aclose()
    assert ours.closed
    assert network.left_open == []
    assert network.sockets == {}
    return answers, answered - began


async def echo(stream: MemoryStream) -> None:
    while True:
        await stream.send(await stream.receive())
