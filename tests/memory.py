"""A network in memory: byte streams with back-pressure, resets and latency, hosts to connect to, and datagrams.

It runs on a mock clock, and its times are exact.

Everything that is opened is remembered, so that a test can ask what was left open.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.egress import Egress
from chainsocks.protocol.address import Address, SockAddr

CAPACITY = 64 * 1024

Place = tuple[str, int]
Received = Callable[[bytes, Place], None]


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

    def break_off(self) -> None:
        """Be reset, by the one who reads or the one who writes."""
        self.buffer.clear()
        self.mark("broken")


class _SlowPipe(_Pipe):
    """One direction of a link with latency: whatever happens at one end, the other knows `latency` seconds later.

    What was sent before an end or a reset arrives before it. There is room for everything.
    """

    def __init__(self, latency: float) -> None:
        super().__init__(CAPACITY)
        self.latency = latency
        self.travelling: deque[tuple[float, bytes | str]] = deque()
        self.refuses_from = math.inf

    async def put(self, data: bytes) -> None:
        if trio.current_time() >= self.refuses_from:
            raise BrokenResourceError
        self._send(data)

    async def take(self, size: int) -> bytes:
        while True:
            while self.travelling and self.travelling[0][0] <= trio.current_time():
                _, what = self.travelling.popleft()
                if isinstance(what, bytes):
                    self.buffer += what
                else:
                    super().mark(what)
            if self.buffer or self.broken or self.finished or self.abandoned:
                return await super().take(size)
            with trio.move_on_at(self.travelling[0][0] if self.travelling else math.inf):
                await self.changed.park()

    def mark(self, what: str) -> None:
        if what == "abandoned":  # by the one who reads
            self.refuses_from = min(self.refuses_from, trio.current_time() + self.latency)
            super().mark(what)
        else:
            self._send(what)

    def break_off(self) -> None:
        self._send("broken")
        self.refuses_from = min(self.refuses_from, trio.current_time() + self.latency)

    def _send(self, what: bytes | str) -> None:
        self.travelling.append((trio.current_time() + self.latency, what))
        self.changed.unpark_all()


class MemoryStream(ByteStream):
    """One end of a connection."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, label: str = "") -> None:
        self.incoming, self.outgoing, self.label = incoming, outgoing, label
        self.closed = False
        self.ends: tuple[Place, Place] | None = None
        """Our place and the other one, for the side that accepts."""

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

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        if self.ends is None:
            return {}
        here, there = self.ends
        return {SocketAttribute.local_address: lambda: here, SocketAttribute.remote_address: lambda: there}

    def reset(self) -> None:
        """Break the connection both ways, as an RST does."""
        self.incoming.break_off()
        self.outgoing.break_off()

    def _check(self) -> None:
        if self.closed:
            raise ClosedResourceError


def memory_stream_pair(
    capacity: int = CAPACITY, label: str = "", latency: float = 0
) -> tuple[MemoryStream, MemoryStream]:
    """Two connected ends, with `capacity` bytes of room in each direction; with latency there is no limit."""
    one, other = (_SlowPipe(latency) if latency else _Pipe(capacity) for _ in range(2))
    return MemoryStream(one, other, f"{label} near"), MemoryStream(other, one, f"{label} far")


class MemorySocket:
    """A UDP socket; whoever is to have its datagrams runs it."""

    def __init__(self, network: MemoryNetwork, host: str, port: int) -> None:
        self.network = network
        self.address = Address(host, port)
        self.received: Received | None = None
        self.waiting: list[tuple[bytes, Place]] = []
        self.closed = False
        network.sockets[self.place] = self

    @property
    def place(self) -> Place:
        host = self.network.host if self.address.host in ("0.0.0.0", "::") else self.address.host
        return host, self.address.port

    def send(self, data: bytes, to: SockAddr) -> bool:
        to = to[0], to[1]
        assert not self.closed
        if to[0] in self.network.unroutable:
            return False
        self.network.datagrams.append((self.place, to, data))
        target = self.network.sockets.get(to)
        if target and target.received:
            target.received(data, self.place)
        elif target:
            target.waiting.append((data, self.place))
        return True

    async def run(self, received: Received) -> None:
        self.received = received
        for datagram in self.waiting:
            received(*datagram)
        try:
            await trio.sleep_forever()
        finally:
            self.received = None

    def close(self) -> None:
        self.closed = True
        del self.network.sockets[self.place]


Handler = Callable[[MemoryStream], Awaitable[None]]


@dataclass
class Host:
    """Something to connect to: who serves it, and how the connect itself goes."""

    handler: Handler | None = None
    delay: float = 0
    error: int | None = None
    """An ``errno`` to fail with; with neither handler nor error, a connect is never answered."""
    latency: float = 0
    """Seconds that everything takes to get there, and as many back; a connect is there and back, beside its delay."""


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
    late: dict[str, tuple[float, list[str]]] = field(default_factory=dict)
    """Names whose other addresses come so many seconds later."""
    forgotten: list[Address] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    """For which clients names were looked up."""
    reverse: dict[str, str] = field(default_factory=dict)
    """Names by address."""
    streams: list[MemoryStream] = field(default_factory=list)
    connects: list[tuple[float, Address]] = field(default_factory=list)
    host: str = "192.0.2.100"
    """Where whoever uses the network is."""
    sockets: dict[Place, MemorySocket] = field(default_factory=dict)
    datagrams: list[tuple[Place, Place, bytes]] = field(default_factory=list)
    """All that were ever sent: from, to, what."""
    unroutable: set[str] = field(default_factory=set)
    """Hosts that no datagram can leave for."""
    udp_ports: count[int] = field(default_factory=lambda: count(50_000))
    listeners: list[MemoryListener] = field(default_factory=list)
    ports: dict[Address, MemoryListener] = field(default_factory=dict)
    """Who listens where, of all parties."""
    egresses: dict[Address, Egress | None] = field(default_factory=dict)
    """How the connects had to leave, if that mattered."""
    logins: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    """Which hops were logged in to, and with what."""
    own: tuple[str, ...] = ("198.51.100.1", "2001:db8:1::1")
    """Our addresses; the first one of its family is on the route to any peer."""

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> MemoryStream:
        self.egresses[address] = egress
        self.connects.append((trio.current_time(), address))
        host = self.hosts.get(address, Host(error=errno.ECONNREFUSED))
        await trio.sleep(host.delay + 2 * host.latency)
        if host.error is not None:
            raise OSError(host.error, os.strerror(host.error))
        if host.handler is None:
            await trio.sleep_forever()
            raise AssertionError
        near, far = self.pair(str(address), latency=host.latency)
        far.ends = (address.host, address.port), (self.host, next(self.udp_ports))
        self.nursery.start_soon(self._serve, host.handler, far)
        return near

    async def resolve(self, name: Address, client: str = "") -> list[Address]:
        self.clients.append(client)
        await trio.sleep(self.resolve_delay)
        if name.host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [Address(host, name.port) for host in self.names[name.host]]

    def rest_of(self, name: Address) -> Callable[[], Awaitable[list[Address]]] | None:
        if name.host not in self.late:
            return None
        delay, hosts = self.late[name.host]

        async def wait() -> list[Address]:
            await trio.sleep(delay)
            return [Address(host, name.port) for host in hosts]

        return wait

    def forget(self, name: Address) -> None:
        self.forgotten.append(name)

    async def name_of(self, address: Address, client: str = "") -> str:
        self.clients.append(client)
        await trio.sleep(self.resolve_delay)
        if address.host not in self.reverse:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.reverse[address.host]

    def open_udp(self, host: str, ports: range = range(1), egress: Egress | None = None) -> MemorySocket:
        return MemorySocket(self, host, ports[0] or next(self.udp_ports))

    async def listen(self, address: Address, egress: Egress | None = None) -> MemoryListener:
        await trio.lowlevel.checkpoint()
        if address.host not in (*self.own, "0.0.0.0", "::"):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        listener = MemoryListener(self, Address(address.host, 40001 + len(self.ports)))
        self.listeners.append(listener)
        self.ports[listener.address] = listener
        return listener

    def local_address(self, peer: Address, egress: Egress | None = None) -> Address:
        if egress and (source := egress.source_for(peer)):
            return source
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

    def pair(self, label: str, capacity: int = CAPACITY, latency: float = 0) -> tuple[MemoryStream, MemoryStream]:
        near, far = memory_stream_pair(capacity, label, latency)
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

    def __init__(self, network: MemoryNetwork, host: str = "192.0.2.100") -> None:
        super().__init__(network.nursery, network.hosts, network.names, network.resolve_delay)
        self.reverse, self.connects = network.reverse, network.connects
        self.host = host
        self.sockets, self.datagrams, self.udp_ports = network.sockets, network.datagrams, network.udp_ports
        self.ports, self.own = network.ports, network.own
