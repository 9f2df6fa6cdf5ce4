"""The client of a session without a connection."""

from __future__ import annotations

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.protocol.address import Address
from chainsocks.protocol.proxy_protocol import Ends
from chainsocks.server.silent_client import SilentClient
from chainsocks.session.connection import ends_of

CLIENT, HERE = ("192.0.2.1", 1000), ("192.0.2.2", 53)


async def test_nothing_comes_from_it_but_its_end(autojump_clock: trio.testing.MockClock) -> None:
    closed: list[str] = []
    client = SilentClient(lambda: closed.append("once"), (CLIENT, HERE))
    assert ends_of(client) == Ends(Address(*CLIENT), Address(*HERE))
    with trio.move_on_after(1000) as scope:
        await client.receive()
    assert scope.cancelled_caught
    await client.send(b"")
    with pytest.raises(RuntimeError):
        await client.send(b"a reply")
    await client.send_eof()
    with pytest.raises(EndOfStream):
        await client.receive()
    await client.aclose()
    await client.aclose()
    assert closed == ["once"]


async def test_it_can_leave() -> None:
    client = SilentClient(lambda: None, (CLIENT, HERE))
    client.break_off()
    with pytest.raises(BrokenResourceError):
        await client.receive()
    await client.aclose()
