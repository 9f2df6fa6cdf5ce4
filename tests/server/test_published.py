"""Ports that are handed out, with an agent that leads to this very machine."""

from __future__ import annotations

import logging
import socket

import pytest
import trio

from chainsocks.config.models import Timeouts
from chainsocks.server.namespace_agent import NamespaceAgent
from chainsocks.server.published import publish


class FakeAgent(NamespaceAgent):
    """Makes sockets here."""

    def __init__(self) -> None:
        self.families: list[socket.AddressFamily] = []

    async def stream(self, family: socket.AddressFamily) -> socket.socket:
        self.families.append(family)
        sock = socket.socket(family)
        sock.settimeout(0)
        return sock


@pytest.fixture
def agent() -> FakeAgent:
    return FakeAgent()


def listen(agent: FakeAgent, nursery: trio.Nursery, port: int) -> tuple[str, int]:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0)
    nursery.start_soon(publish, listening, port, agent, Timeouts())
    name: tuple[str, int] = listening.getsockname()
    return name


async def test_both_ways_and_each_end(agent: FakeAgent, nursery: trio.Nursery) -> None:
    [server] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with server, await trio.open_tcp_stream(*listen(agent, nursery, server.socket.getsockname()[1])) as client:
        upstream = await server.accept()
        async with upstream:
            await client.send_all(b"up")
            await client.send_eof()
            assert b"".join([data async for data in upstream]) == b"up"
            await upstream.send_all(b"down")
        assert b"".join([data async for data in client]) == b"down"


@pytest.mark.skipif(not socket.has_ipv6, reason="IPv6 is off")
async def test_a_server_on_ipv6_only(agent: FakeAgent, nursery: trio.Nursery) -> None:
    try:
        [server] = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("there is no ::1 here")
    address = listen(agent, nursery, server.socket.getsockname()[1])
    async with server, await trio.open_tcp_stream(*address), await server.accept():
        assert agent.families == [socket.AF_INET, socket.AF_INET6]


async def test_nothing_listens(agent: FakeAgent, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "chainsocks")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with await trio.open_tcp_stream(*listen(agent, nursery, port)) as client:
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
    assert f"port {port} inside: Connection refused" in caplog.text
