"""Datagrams of a program, with a server whose chain has a hop of ours; tests/e2e/test_exec.py has a kernel that hands
them over.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server
from chainsocks.protocol.address import Address, address_of
from chainsocks.server.datagrams_inside import DatagramsInside
from chainsocks.server.namespace_agent import NamespaceAgent
from chainsocks.server.server import open_server

ANYWHERE = Server(listen=(Listener(Address("127.0.0.1", 0)),))


class FakeAgent(NamespaceAgent):
    """Makes sockets here, at loopback whatever address is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.refused = trio.Event()

    async def datagrams_from(self, family: socket.AddressFamily, host: str, port: int) -> socket.socket:
        self.asked.append((host, port))
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0)
        return sock

    async def refuse_datagrams(self) -> None:
        self.refused.set()


@asynccontextmanager
async def taking(
    names: dict[str, str], *hops: str
) -> AsyncIterator[tuple[FakeAgent, Callable[[bytes, str, int], Awaitable[None]], trio.socket.SocketType]]:
    """Take datagrams; yield the agent, what sends one as the program to an address, and the program's socket."""
    agent = FakeAgent()
    config = Config(ANYWHERE, chains={"default": Chain(*hops)})
    async with open_server(config) as server, trio.open_nursery() as nursery:
        datagrams = DatagramsInside(server, agent, names.get, nursery)
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
            await program.bind(("127.0.0.1", 0))

            async def send(data: bytes, host: str, port: int) -> None:
                datagrams._pass_on(address_of(program.getsockname()), data, Address(host, port))

            yield agent, send, program
        nursery.cancel_scope.cancel()


async def echo(server: trio.socket.SocketType) -> None:
    while True:
        data, client = await server.recvfrom(1000)
        await server.sendto(b"echo " + data, client)


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        await server.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, server)
            yield server.getsockname()[1]
            nursery.cancel_scope.cancel()


async def test_they_go_through_a_hop_and_come_back_from_where_they_went() -> None:
    async with echo_server() as port, open_server(Config(ANYWHERE)) as hop:
        url = f"socks5://{hop.listeners[0]}"
        async with taking({"198.18.1.0": "127.1"}, url) as (agent, send, program):
            for host in ("127.0.0.1", "198.18.1.0"):
                await send(host.encode(), host, port)
                assert await program.recv(100) == b"echo " + host.encode()
            assert agent.asked == [("127.0.0.1", port)]


async def test_what_comes_back_for_a_name_has_the_address_that_the_program_knows() -> None:
    async with (
        echo_server() as port,
        open_server(Config(ANYWHERE)) as hop,
        taking({"198.18.1.0": "127.1"}, f"socks5://{hop.listeners[0]}") as (agent, send, program),
    ):
        await send(b"by name", "198.18.1.0", port)
        assert await program.recv(100) == b"echo by name"
        assert agent.asked == [("198.18.1.0", port)]


async def test_a_chain_without_udp_has_them_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with taking({}, "socks5://127.0.0.1:1") as (agent, send, _):
        await send(b"x", "192.0.2.80", 443)
        await agent.refused.wait()
    assert caplog.text.count("the chain carries no UDP") == 1


async def test_the_kernel_says_where_they_were_sent_to(monkeypatch: pytest.MonkeyPatch) -> None:
    ipv4 = struct.pack("=H", socket.AF_INET) + bytes([1, 187, 192, 0, 2, 80]) + bytes(8)
    ipv6 = struct.pack("=H", socket.AF_INET6) + bytes([1, 187]) + bytes(4)
    ipv6 += socket.inet_pton(socket.AF_INET6, "2001:db8::80") + bytes(4)
    told = [[(0, 20, ipv4)], [(0, 8, b""), (41, 74, ipv6)], []]
    found: list[Address] = []

    class Taken:
        def __enter__(self) -> Taken:
            return self

        def __exit__(self, *_: object) -> None: ...

        async def recvmsg(self, size: int, ancillary: int) -> tuple[bytes, list[Any], int, tuple[str, int]]:
            if not told:
                raise OSError(errno.EBADF, "")
            return b"x", told.pop(0), 0, ("127.0.0.1", 5555)

    monkeypatch.setattr(trio.socket, "from_stdlib_socket", lambda sock: sock)
    monkeypatch.setattr(DatagramsInside, "_pass_on", lambda self, client, data, target: found.append(target))
    async with open_server(Config(ANYWHERE)) as server, trio.open_nursery() as nursery:
        with pytest.raises(OSError, match=str(errno.EBADF)):
            await DatagramsInside(server, FakeAgent(), lambda host: None, nursery).serve(Taken())  # type: ignore[arg-type]
    assert found == [Address("192.0.2.80", 443), Address("2001:db8::80", 443)]
