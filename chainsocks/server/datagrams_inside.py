"""Datagrams that a program sends anywhere: an association through the chain for each of its sockets.

::

    program ─ UDP ─ tproxy ─> here ─ SOCKS5 ─> a session of this server ─ association at every hop
            <─ UDP from where it had sent to ─┘

1. The session is an ordinary one: rules, limits, deadlines and log are those of UDP ASSOCIATE.
2. Where an association fails, as with hops that have no UDP, this ends for good: from then on the kernel refuses
   datagrams at once, so that programs use TCP instead.
3. What comes back for a name has the address that the program knows it by.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address, AddressType, SockAddr, address_of
from chainsocks.protocol.datagram import decode_header, encode_header, header_size
from chainsocks.protocol.errors import ProtocolError
from chainsocks.server.namespace_agent import NamespaceAgent
from chainsocks.server.server import Server
from chainsocks.session.connection import Connection
from chainsocks.session.session import serve_session

__all__ = ["DatagramsInside"]

log = logging.getLogger("chainsocks.exec")

MOST_FLOWS = 256
"""Sockets of the program that have associations at a time; datagrams of further ones are dropped."""

_QUEUE = 64
_MOST = 65535
_ASSOCIATE = b"\x05\x01\x00", b"\x05\x03\x00\x01" + bytes(6)
_IPV4, _IPV6 = (socket.IPPROTO_IP, 20), (socket.IPPROTO_IPV6, 74)
"""IP_ORIGDSTADDR, IPV6_ORIGDSTADDR."""

Datagram = tuple[bytes, Address]


class DatagramsInside:
    """See the module. `name_of` finds the name that an IP address stands for."""

    def __init__(
        self, server: Server, agent: NamespaceAgent, name_of: Callable[[str], str | None], nursery: trio.Nursery
    ) -> None:
        self._server = server
        self._agent = agent
        self._name_of = name_of
        self._nursery = nursery
        self._flows: dict[Address, trio.MemorySendChannel[Datagram]] = {}
        self._is_over = False

    async def serve(self, sock: socket.socket) -> None:
        """Take what tproxy hands to a socket, until cancelled. *Closing*: the socket is closed then."""
        with trio.socket.from_stdlib_socket(sock) as taken:
            while not self._is_over:
                data, told, _, sender = await taken.recvmsg(_MOST, 256)
                client = address_of(cast(SockAddr, sender))
                if target := _original(told):
                    self._pass_on(client, data, target)

    def _pass_on(self, client: Address, data: bytes, target: Address) -> None:
        flow = self._flows.get(client)
        if flow is None:
            if len(self._flows) >= MOST_FLOWS:
                return
            flow, receive = trio.open_memory_channel[Datagram](_QUEUE)
            self._flows[client] = flow
            self._nursery.start_soon(self._run_flow, client, receive)
        with suppress(trio.WouldBlock, trio.BrokenResourceError):  # as a network drops it
            flow.send_nowait((data, target))

    async def _run_flow(self, client: Address, receive: trio.MemoryReceiveChannel[Datagram]) -> None:
        """Serve one socket of the program, until its association ends."""
        with receive:
            try:
                ours, theirs = _tcp_pair()
                connection = Connection(SocketStream(theirs), str(client), "127.0.0.1", self._server.listeners[0].terms)
                async with trio.open_nursery() as nursery, SocketStream(ours) as control:
                    nursery.start_soon(serve_session, connection, self._server.service)
                    if relay := await _associate(control):
                        await _Flow(client, relay, self._agent, self._name_of).run(control, receive)
                    else:
                        await self._give_up()
            except* OSError as errors:
                log.debug("= datagrams of %s: %s", client, errors.exceptions[0])
            finally:
                self._flows.pop(client, None)

    async def _give_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            log.warning("the chain carries no UDP: from now on it is refused at once")
            await self._agent.refuse_datagrams()


class _Flow:
    """One association: what the program sends, and what comes back for it."""

    def __init__(
        self, client: Address, relay: Address, agent: NamespaceAgent, name_of: Callable[[str], str | None]
    ) -> None:
        self._client = client
        self._relay = relay
        self._agent = agent
        self._name_of = name_of
        self._sources: dict[Address, socket.socket] = {}
        self._sent: dict[Address, None] = {}
        self._by_port: dict[int, Address] = {}
        """The name that was last sent to at each port, as the address that the program knows it by."""

    async def run(self, control: SocketStream, receive: trio.MemoryReceiveChannel[Datagram]) -> None:
        """Run until the association's connection ends."""
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outer:
            await outer.connect(self._relay.sockaddr)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, outer, receive)
                nursery.start_soon(self._receive, outer)
                try:
                    await control.receive()
                except (EndOfStream, BrokenResourceError):
                    pass
                finally:
                    for each in self._sources.values():
                        each.close()
                nursery.cancel_scope.cancel()

    async def _send(self, outer: trio.socket.SocketType, receive: trio.MemoryReceiveChannel[Datagram]) -> None:
        async for data, target in receive:
            if name := self._name_of(target.host):
                self._by_port[target.port] = target
                target = Address(name, target.port)
            else:
                self._sent[target] = None
            with suppress(OSError):
                await outer.send(encode_header(target) + data)

    async def _receive(self, outer: trio.socket.SocketType) -> None:
        while True:
            try:
                data = await outer.recv(_MOST)
                header = decode_header(data)
            except (OSError, ProtocolError):
                await trio.lowlevel.checkpoint()
                continue
            source = header.address
            if source not in self._sent:
                source = self._by_port.get(source.port, source)
            if source.type is AddressType.DOMAINNAME:
                continue
            with suppress(OSError):
                sock = self._sources.get(source)
                if sock is None:
                    family = socket.AF_INET6 if source.type is AddressType.IPV6 else socket.AF_INET
                    sock = self._sources[source] = await self._agent.datagrams_from(family, source.host, source.port)
                sock.sendto(data[header_size(data) :], self._client.sockaddr)


def _original(told: list[tuple[int, int, bytes]]) -> Address | None:
    """Return where a datagram was sent to, as its control messages tell."""
    for level, kind, data in told:
        if (level, kind) == _IPV4:
            return Address(socket.inet_ntoa(data[4:8]), int.from_bytes(data[2:4], "big"))
        if (level, kind) == _IPV6:
            return Address(socket.inet_ntop(socket.AF_INET6, data[8:24]), int.from_bytes(data[2:4], "big"))
    return None


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection on loopback: a session has to know its client by an IP address."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, peer = listening.accept()
    if peer != ours.getsockname():
        ours.close()
        theirs.close()
        raise ConnectionRefusedError("another program was in the way")
    ours.settimeout(0)
    theirs.settimeout(0)
    return ours, theirs


async def _associate(control: SocketStream) -> Address | None:
    """Ask for an association, and return where its datagrams go; None if there is none."""
    greeting, request = _ASSOCIATE
    try:
        await control.send(greeting)
        await control.receive(2)
        await control.send(request)
        reply = await control.receive(10)
    except (EndOfStream, BrokenResourceError):
        return None
    if len(reply) < 10 or reply[1]:
        return None
    return Address(socket.inet_ntoa(reply[4:8]), struct.unpack(">H", reply[8:10])[0])
