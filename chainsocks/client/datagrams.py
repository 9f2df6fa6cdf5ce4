"""Datagrams through a chain: `open_udp`.

The associations are opened by the same code that the server runs (`chainsocks.chain.associate`); the socket is our own.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from typing import Self

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.chain.associate import Association
from chainsocks.chain.dial import associate
from chainsocks.chain.network import Network
from chainsocks.client.isolation import own_circuit
from chainsocks.client.network import CHOICES, AnyioNetwork
from chainsocks.config.chains import DIRECT, Chain, Udp
from chainsocks.config.hops import Resolve
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, ConnectError, DialTimeout, Place, RequestRefused, Step
from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.datagram import Nesting, decode_header, encode_header, header_size
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.messages import ReplyCode

__all__ = ["UDPAssociation", "open_udp"]

REMEMBERED = 1024
"""Destinations that may answer: those that were sent something last."""

LARGEST = 65536
"""Bytes: more than any datagram has."""


async def open_udp(*, chain: Chain = DIRECT, timeouts: Timeouts | None = None) -> UDPAssociation:
    """Open a way for datagrams through `chain`, with an association at every hop; without hops, a socket.

    *Closing*: the association is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        RequestRefused: the chain carries no UDP, see `chainsocks.config.chains.Udp`.
    """
    if chain.udp is Udp.REFUSE:
        raise RequestRefused(f"chain {chain.name} carries no UDP", ReplyCode.COMMAND_NOT_SUPPORTED)
    limits, network = timeouts or Timeouts(), AnyioNetwork()
    association = await associate(own_circuit(chain), limits, network, CHOICES)
    try:
        hops = association.hops
        local = not hops or hops[-1].resolve is Resolve.LOCAL
        return UDPAssociation(association, network, limits.resolve if local else None)
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
        place, began = Place(None, name, Step.RESOLVE), self._network.now()
        with self._network.open_scope(began + limit):
            problem = "it has no address"
            try:
                if found := await self._network.resolve(name):
                    return canonical(found[0])
            except OSError as error:
                problem = error.strerror or str(error)
            elapsed = self._network.now() - began
            cause = Cause.NAME_NOT_FOUND
            raise ConnectError(place, problem, cause, elapsed=elapsed, limit=limit, at_destination=True)
        raise DialTimeout(place, "no answer", Cause.TIMED_OUT, elapsed=limit, limit=limit, at_destination=True)


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
