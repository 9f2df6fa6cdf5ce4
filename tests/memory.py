"""A network in memory: byte streams with back-pressure and resets, and hosts to connect to, on trio's mock clock.

Everything that is opened is remembered, so that a test can ask what was left open.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.protocol.address import Address

CAPACITY = 64 * 1024


class _Pipe:
    """One direction."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.buffer = bytearray()
        self.finished = self.broken = self.abandoned = False
        self.changed = trio.lowlevel.ParkingLot()

    async def put(self, data: bytes) -> None:
        view = memoryview(data)
        while True:
            if self.broken or self.abandoned:
                raise BrokenResourceError
            room = self.capacity - len(self.buffer)
            if room > 0:
                self.buffer += view[:room]
                view = view[room:]
                self.changed.unpark_all()
            if not view:
                return
            await self.changed.park()

    async def take(self, size: int) -> bytes:
        while not self.buffer:
            if self.abandoned:
                raise ClosedResourceError  # by another task, while this one was waiting
            if self.broken:
                raise BrokenResourceError
            if self.finished:
                raise EndOfStream
            await self.changed.park()
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.changed.unpark_all()
        return data

    def mark(self, what: str) -> None:
        setattr(self, what, True)
        self.changed.unpark_all()


class MemoryStream(ByteStream):
    """One end of a connection."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, label: str = "") -> None:
        self.incoming, self.outgoing, self.label = incoming, outgoing, label
        self.closed = False

    def __repr__(self) -> str:
        return f"<MemoryStream {self.label} {'closed' if self.closed else 'open'}>"

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        self._check()
        data = await self.incoming.take(max_bytes)
        self._check()
        return data

    async def send(self, item: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        await self.outgoing.put(item)
        self._check()

    async def send_eof(self) -> None:
        self._check()
        if self.outgoing.broken:
            raise BrokenResourceError
        self.outgoing.mark("finished")

    async def aclose(self) -> None:
        self.closed = True
        self.outgoing.mark("finished")
        self.incoming.mark("abandoned")
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the connection both ways, as an RST does."""
        self.incoming.buffer.clear()
        self.outgoing.buffer.clear()
        self.incoming.mark("broken")
        self.outgoing.mark("broken")

    def _check(self) -> None:
        if self.closed:
            raise ClosedResourceError


def memory_stream_pair(capacity: int = CAPACITY, label: str = "") -> tuple[MemoryStream, MemoryStream]:
    """Two connected ends, with `capacity` bytes of room in each direction."""
    one, other = _Pipe(capacity), _Pipe(capacity)
    return MemoryStream(one, other, f"{label} near"), MemoryStream(other, one, f"{label} far")


Handler = Callable[[MemoryStream], Awaitable[None]]


@dataclass
class Host:
    """Something to connect to: who serves it, and how the connect itself goes."""

    handler: Handler | None = None
    delay: float = 0
    error: int | None = None
    """An ``errno`` to fail with; with neither handler nor error, a connect is never answered."""


class MemoryListener:
    """A port of ours."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self.address = address
        self.label = str(address)
        self.network = network
        self.calls, self._waiting = trio.open_memory_channel[tuple[MemoryStream, Address]](math.inf)
        self.closed = False

    def __repr__(self) -> str:
        return f"<MemoryListener {self.address} {'closed' if self.closed else 'open'}>"

    async def accept(self) -> tuple[MemoryStream, Address]:
        stream, peer = await self._waiting.receive()
        self.network.streams.append(stream)
        return stream, peer

    async def aclose(self) -> None:
        self.closed = True
        self.network.ports.pop(self.address, None)
        while self._waiting.statistics().current_buffer_used:
            stream, _ = self._waiting.receive_nowait()
            stream.reset()


@dataclass
class MemoryNetwork:
    """Hosts by address and names by host; `nursery` runs their handlers."""

    nursery: trio.Nursery
    hosts: dict[Address, Host] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    resolve_delay: float = 0
    streams: list[MemoryStream] = field(default_factory=list)
    connects: list[tuple[float, Address]] = field(default_factory=list)
    listeners: list[MemoryListener] = field(default_factory=list)
    ports: dict[Address, MemoryListener] = field(default_factory=dict)
    """Who listens where, of all parties."""
    sources: dict[Address, Address | None] = field(default_factory=dict)
    """Where the connects had to come from, if that mattered."""
    own: tuple[str, ...] = ("198.51.100.1", "2001:db8:1::1")
    """Our addresses; the first one of its family is on the route to any peer."""

    async def open_tcp(self, address: Address, source: Address | None = None) -> MemoryStream:
        self.sources[address] = source
        self.connects.append((trio.current_time(), address))
        host = self.hosts.get(address, Host(error=errno.ECONNREFUSED))
        await trio.sleep(host.delay)
        if host.error is not None:
            raise OSError(host.error, os.strerror(host.error))
        if host.handler is None:
            await trio.sleep_forever()
            raise AssertionError
        near, far = self.pair(str(address))
        self.nursery.start_soon(self._serve, host.handler, far)
        return near

    async def resolve(self, name: Address) -> list[Address]:
        await trio.sleep(self.resolve_delay)
        if name.host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [Address(host, name.port) for host in self.names[name.host]]

    async def listen(self, address: Address) -> MemoryListener:
        await trio.lowlevel.checkpoint()
        if address.host not in (*self.own, "0.0.0.0", "::"):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        listener = MemoryListener(self, Address(address.host, 40001 + len(self.ports)))
        self.listeners.append(listener)
        self.ports[listener.address] = listener
        return listener

    def own_address(self, peer: Address) -> Address:
        for host in self.own:
            if Address(host, 0).type is peer.type:
                return Address(host, 0)
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    def call(self, port: Address, peer: Address) -> MemoryStream:
        """Connect to a port as `peer`; return the peer's end."""
        near, far = memory_stream_pair(label=str(peer))
        self.ports[port].calls.send_nowait((near, peer))
        return far

    def open_scope(self, deadline: float) -> trio.CancelScope:
        return trio.CancelScope(deadline=deadline)

    def now(self) -> float:
        return trio.current_time()

    def pair(self, label: str, capacity: int = CAPACITY) -> tuple[MemoryStream, MemoryStream]:
        near, far = memory_stream_pair(capacity, label)
        self.streams.append(near)
        return near, far

    @property
    def left_open(self) -> list[MemoryStream | MemoryListener]:
        """Our ends of connections, and our ports, that nobody closed."""
        opened: list[MemoryStream | MemoryListener] = [*self.streams, *self.listeners]
        return [one for one in opened if not one.closed]

    async def _serve(self, handler: Handler, stream: MemoryStream) -> None:
        try:
            await handler(stream)
        except (BrokenResourceError, EndOfStream):
            pass  # the other side is gone: the end of most handlers
        finally:
            if not stream.outgoing.broken:
                stream.closed = True
                stream.outgoing.mark("finished")
                stream.incoming.mark("abandoned")


class WatchedNetwork(MemoryNetwork):
    """The same network, seen by one party: `streams` are those that this party opened."""

    def __init__(self, network: MemoryNetwork) -> None:
        super().__init__(network.nursery, network.hosts, network.names, network.resolve_delay)
        self.connects = network.connects
        self.ports, self.own = network.ports, network.own
