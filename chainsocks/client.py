"""The client library: TCP connections through a chain, out and in, and datagrams, under trio and under asyncio.

The chain is walked by the same code that the server runs (`chainsocks.chain`); only the sockets and the look-up below
it are anyio's.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Self, cast

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute, SocketListener
from anyio.streams.buffered import BufferedByteStream

from chainsocks.chain.associate import Association, associate
from chainsocks.chain.bind import BindWalk
from chainsocks.chain.dial import RESOLVE, Network, Upstream, dial
from chainsocks.chain.route import own_address
from chainsocks.config.hops import DIRECT, Chain, Resolve, Udp
from chainsocks.config.models import Timeouts
from chainsocks.errors import ConnectError, DialTimeout, Place, RequestRefused
from chainsocks.protocol.address import Address, AddressType, address_of, canonical
from chainsocks.protocol.datagram import Nesting, decode_header, encode_header, header_size
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.messages import ReplyCode

__all__ = ["BoundPort", "UDPAssociation", "bind_tcp", "connect_tcp", "open_udp"]

BACKLOG = 16
"""Strangers that may be waiting while the one who is expected knocks."""

REMEMBERED = 1024
"""Destinations that may answer: those that were sent something last."""

LARGEST = 65536
"""Bytes: more than any datagram has."""


async def connect_tcp(host: str, port: int, *, chain: Chain = DIRECT, timeouts: Timeouts | None = None) -> ByteStream:
    """Connect to `host` and `port` through `chain`, and return the stream.

    A name goes to the last hop as it is. `timeouts` are the server's own by default, see
    `chainsocks.config.models.Timeouts`.

    *Closing*: the stream is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        ValueError: `host` or `port` cannot be part of a SOCKS request.
    """
    return _stream_of(await dial(chain, Address(host, port), timeouts or Timeouts(), _Network()))


async def bind_tcp(
    host: str = "0.0.0.0", port: int = 0, *, chain: Chain = DIRECT, timeouts: Timeouts | None = None
) -> BoundPort:
    """Have a port opened at the far end of `chain`, for one connection from `host`; this is SOCKS's BIND.

    The default host, 0.0.0.0, stands for anyone, as ``::`` does. `port` goes to the last hop as it is; most, such as
    ours, let the peer come from any. A chain without hops opens the port on this machine::

        async with await chainsocks.bind_tcp("192.0.2.21", 20, chain=chain) as bound:
            await tell_the_peer(bound.address)
            stream = await bound.accept()

    *Closing*: the port is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        ValueError: `host` or `port` cannot be part of a SOCKS request.
    """
    network = _Network()
    walk = BindWalk(chain, Address(host, port), timeouts or Timeouts(), network)
    with network.open_scope(math.inf) as scope:
        return BoundPort(walk, await walk.bind(scope))
    raise walk.timeout()


class BoundPort:
    """A port that `bind_tcp` opened, for one connection.

    *Closing*: leaving its ``async with`` block, or `aclose`, closes the port. The stream that `accept` returned is
    another matter: it is the caller's, and stays open.
    """

    def __init__(self, walk: BindWalk, address: Address) -> None:
        self._walk = walk
        self.address = address
        """Where the peer has to connect to. Its host is a name or zeros where a hop does not say more."""
        self.peer: Address | None = None
        """Who has connected, once `accept` has returned."""

    async def accept(self) -> ByteStream:
        """Wait for the peer, at most `Timeouts.bind` seconds, and return the stream, which is the caller's to close.

        There is one connection to be had. When this raises, or is cancelled, the port is closed.

        Raises:
            DialError: one of its subclasses, `DialTimeout` when nobody has connected in time.
        """
        with _Network().open_scope(math.inf) as scope:
            upstream = await self._walk.accept(scope)
            self.peer = upstream.bound
            return _stream_of(upstream)
        raise self._walk.timeout()

    async def aclose(self) -> None:
        """Close the port."""
        await self._walk.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _stream_of(upstream: Upstream) -> ByteStream:
    if not upstream.trailing_data:
        return upstream.stream
    stream = BufferedByteStream(upstream.stream)
    stream.feed_data(upstream.trailing_data)
    return stream


async def open_udp(*, chain: Chain = DIRECT, timeouts: Timeouts | None = None) -> UDPAssociation:
    """Open a way for datagrams through `chain`, with an association at every hop; without hops, a socket.

    *Closing*: the association is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        RequestRefused: the chain carries no UDP, see `chainsocks.config.hops.Udp`.
    """
    if chain.udp is Udp.REFUSE:
        raise RequestRefused(f"chain {chain.name} carries no UDP", ReplyCode.COMMAND_NOT_SUPPORTED)
    timeouts, network = timeouts or Timeouts(), _Network()
    association = await associate(chain, timeouts, network)
    try:
        local = not chain.hops or chain.hops[-1].resolve is Resolve.LOCAL
        return UDPAssociation(association, network, timeouts.resolve if local else None)
    except BaseException:
        await _close_all(association.streams.values())
        raise


class UDPAssociation:
    """Datagrams to and from anybody, through a chain or directly; made by `open_udp`.

    What strangers send is not heard: directly that is whoever was not sent anything lately, through a chain whatever
    has not come by all its hops. It lives as long as its connections to the hops, which say when it is over.
    """

    def __init__(self, association: Association, network: Network, resolve: float | None) -> None:
        self._streams = association.streams
        self._network = network
        self._resolve = resolve
        self._relay = association.relays[0] if association.relays else None
        self._nesting = Nesting(association.relays[1:])
        self._asked: dict[Address, None] = {}
        self._socket = _open_socket()

    async def send_to(self, data: bytes, host: str, port: int) -> None:
        """Send one datagram. A name goes to the last hop as it is; where it is looked up here, it is each time.

        Raises:
            DialError: the name has no address.
            OSError: the datagram cannot leave.
            ValueError: `host` or `port` cannot be part of a SOCKS request.
        """
        destination = canonical(Address(host, port))
        if self._resolve is not None and destination.type is AddressType.DOMAINNAME:
            destination = await self._look_up(destination, self._resolve)
        if self._relay:
            await self._send(self._nesting.wrap(encode_header(destination) + data), self._relay)
            return
        self._asked.pop(destination, None)
        self._asked[destination] = None
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]
        await self._send(data, destination)

    async def receive_from(self) -> tuple[bytes, Address]:
        """Return the next datagram and who it is from. One task at a time may wait here.

        Raises:
            BrokenResourceError: a hop has ended its association.
            ClosedResourceError: this has been closed.
        """
        while True:
            self._check()
            try:
                data, name = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                await self._wait()
                continue
            heard = self._unwrap(data, canonical(Address(name[0], name[1])))
            if heard:
                return heard

    async def aclose(self) -> None:
        """Close the socket, and the connections to the hops."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()
        await _close_all(self._streams.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _check(self) -> None:
        if self._socket.fileno() < 0:
            raise ClosedResourceError

    def _unwrap(self, data: bytes, source: Address) -> tuple[bytes, Address] | None:
        """Return the payload and who it is from; None for a stranger's, and for what is malformed."""
        if self._relay is None:
            return (data, source) if source in self._asked else None
        if source != self._relay:
            return None
        try:
            inner = self._nesting.unwrap(data)
            header = decode_header(inner) if inner is not None else None
        except ProtocolError:
            return None
        if inner is None or header is None or header.fragment:
            return None
        return inner[header_size(inner) :], header.address

    async def _send(self, datagram: bytes, to: Address) -> None:
        host = to.host
        if self._socket.family is socket.AF_INET6 and to.type is AddressType.IPV4:
            host = f"::ffff:{host}"
        while True:
            self._check()
            try:
                self._socket.sendto(datagram, (host, to.port))
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            else:
                return

    async def _wait(self) -> None:
        """Wait for a datagram, or for the end of the way."""
        over: list[str] = []

        async def watch(name: str, stream: ByteStream) -> None:
            with contextlib.suppress(EndOfStream, BrokenResourceError, ClosedResourceError):
                while True:
                    await stream.receive()
            over.append(name)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for name, stream in self._streams.items():
                group.start_soon(watch, name, stream)
            with contextlib.suppress(ClosedResourceError):
                await anyio.wait_readable(self._socket)
            group.cancel_scope.cancel()
        if over:
            self._check()
            raise BrokenResourceError(f"hop {over[0]} ended its association")

    async def _look_up(self, name: Address, limit: float) -> Address:
        place, began, code = Place(None, name, RESOLVE), self._network.now(), ReplyCode.HOST_UNREACHABLE
        with self._network.open_scope(began + limit):
            problem = "it has no address"
            try:
                if found := await self._network.resolve(name):
                    return canonical(found[0])
            except OSError as error:
                problem = error.strerror or str(error)
            elapsed = self._network.now() - began
            raise ConnectError(place, problem, elapsed=elapsed, limit=limit, reply_code=code)
        raise DialTimeout(place, "no answer", elapsed=limit, limit=limit)


def _open_socket() -> socket.socket:
    """Open a socket for IPv6 and IPv4, or for IPv4 where there is nothing else."""
    try:
        return _bind(socket.AF_INET6, "::")
    except OSError:
        return _bind(socket.AF_INET, "0.0.0.0")


def _bind(family: int, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, 0))
        sock.settimeout(0)
    except BaseException:
        sock.close()
        raise
    return sock


async def _close_all(streams: Iterable[ByteStream]) -> None:
    async with contextlib.AsyncExitStack() as stack:  # also when the first one does not close in order
        for stream in streams:
            stack.push_async_callback(anyio.aclose_forcefully, stream)


class _Listener:
    """One of anyio's listeners, as a BIND wants it."""

    def __init__(self, listener: SocketListener) -> None:
        self._listener = listener

    @property
    def address(self) -> Address:
        return address_of(cast(tuple[str, int], self._listener.extra(SocketAttribute.local_address)))

    async def accept(self) -> tuple[ByteStream, Address]:
        stream = await self._listener.accept()
        return stream, address_of(cast(tuple[str, int], stream.extra(SocketAttribute.remote_address)))

    async def aclose(self) -> None:
        await self._listener.aclose()


class _Network:
    """The network as anyio sees it."""

    async def open_tcp(self, address: Address) -> ByteStream:
        return await anyio.connect_tcp(address.host, address.port)

    async def resolve(self, address: Address) -> list[Address]:
        found = await anyio.getaddrinfo(address.packed, address.port, type=socket.SOCK_STREAM)
        return [Address(str(sockaddr[0]), address.port) for *_, sockaddr in found]

    async def listen(self, address: Address) -> _Listener:
        opened = await anyio.create_tcp_listener(local_host=address.host, local_port=address.port, backlog=BACKLOG)
        [listener] = opened.listeners
        return _Listener(cast(SocketListener, listener))

    def own_address(self, peer: Address) -> Address:
        return own_address(peer)

    def open_scope(self, deadline: float) -> anyio.CancelScope:
        return anyio.CancelScope(deadline=deadline)

    def now(self) -> float:
        return anyio.current_time()
