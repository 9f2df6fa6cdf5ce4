"""Reading a request, by itself; whole conversations are in the tests of the session."""

from __future__ import annotations

import pytest
import trio

from chainsocks.config.models import Config
from chainsocks.errors import ProtocolError
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.request import RequestReader
from chainsocks.session.service import Service
from tests.memory import MemoryNetwork, memory_stream_pair


async def test_it_reads_a_request_and_leaves_the_reply_to_its_caller(nursery: trio.Nursery) -> None:
    client, ours = memory_stream_pair()
    reader = RequestReader(Connection(ours, ""), Service(Config(), Logins(()), MemoryNetwork(nursery)))
    assert (reader.handshake, reader.step) == (None, "first byte")
    await client.send(b"\x05\x01\x00" + b"\x05\x01\x00\x01\xc0\x00\x02\x50\x00\x50" + b"early")
    handshake = await reader.read()
    assert handshake is reader.handshake
    assert (handshake.state, handshake.request.destination) == (State.REPLY, Address("192.0.2.80", 80))
    assert handshake.trailing_data == b"early"
    assert await client.receive() == b"\x05\x00"


async def test_a_client_that_leaves_is_a_protocol_error(nursery: trio.Nursery) -> None:
    client, ours = memory_stream_pair()
    reader = RequestReader(Connection(ours, ""), Service(Config(), Logins(()), MemoryNetwork(nursery)))
    await client.send_eof()
    with pytest.raises(ProtocolError, match="left without a word"):
        await reader.read()
