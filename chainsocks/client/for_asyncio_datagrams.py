"""Datagrams through a chain by asyncio's own interface: a transport with a protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from anyio import BrokenResourceError, ClosedResourceError

from chainsocks.client.datagrams import UDPAssociation, open_udp
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address, AddressType, HostLike, PortLike

__all__ = ["ChainDatagramTransport", "create_datagram_endpoint"]

ProtocolT = TypeVar("ProtocolT", bound=asyncio.DatagramProtocol)

WAITING = 1024
"""Datagrams that wait to be sent at most; more are lost, as in a network."""


async def create_datagram_endpoint(
    protocol_factory: Callable[[], ProtocolT],
    *,
    chain: Chain = DIRECT,
    remote_addr: tuple[HostLike, PortLike] | None = None,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    isolation: str | None = None,
) -> tuple[ChainDatagramTransport, ProtocolT]:
    """Open a UDP association through `chain`, as the event loop's ``create_datagram_endpoint`` opens a socket.

    With `remote_addr`, datagrams go there and come from there only, and the protocol gets that address, also where it
    is a name. The other arguments, and what is raised, are those of `open_udp`.

    *Closing*: the caller closes the transport. Nothing is left open when this raises, or is cancelled.
    """
    remote = None if remote_addr is None else destination_of(*remote_addr)
    association = await open_udp(chain=chain, timeout=timeout, timeouts=timeouts, isolation=isolation)
    try:
        protocol = protocol_factory()
        transport = ChainDatagramTransport(association, protocol, remote)
        protocol.connection_made(transport)
    except BaseException:
        await association.aclose()
        raise
    transport.start()
    return transport, protocol


class ChainDatagramTransport(asyncio.DatagramTransport):
    """A transport on a `UDPAssociation`, which it owns; `create_datagram_endpoint` makes it.

    The protocol's ``connection_lost`` is called when it is closed, or when a hop has ended its association.
    """

    def __init__(self, association: UDPAssociation, protocol: asyncio.DatagramProtocol, remote: Address | None) -> None:
        sock = association.extra(anyio.abc.SocketAttribute.raw_socket)
        extra: dict[str, Any] = {"socket": sock, "sockname": sock.getsockname()}
        if remote:
            extra["peername"] = (remote.host, remote.port)
        super().__init__(extra)
        self._association = association
        self._protocol: asyncio.BaseProtocol = protocol
        self._datagrams = protocol
        self._remote = remote
        self._peer = remote if remote and remote.type is not AddressType.DOMAINNAME else None
        """Who may answer; for a name it is the first to do so from its port."""
        self._waiting: asyncio.Queue[tuple[bytes, Address] | None] = asyncio.Queue(WAITING)
        self._is_closing = False

    def start(self) -> None:
        """Begin to send and to receive."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram. One for which there is no room is lost."""
        if addr is None and self._remote is None:
            raise ValueError("no address is given, and the endpoint has no remote_addr")
        to = self._remote if addr is None else destination_of(*addr[:2])
        if to is None or (self._remote and to != self._remote):
            raise ValueError(f"the endpoint sends to its remote_addr {self._remote} only")
        if not self._is_closing and not self._waiting.full():
            self._waiting.put_nowait((bytes(data), to))

    def is_closing(self) -> bool:
        """Tell whether `close` or `abort` was called."""
        return self._is_closing

    def close(self) -> None:
        """Close the association, once all that waits is sent."""
        if not self._is_closing:
            self._is_closing = True
            if self._waiting.full():
                self._waiting.get_nowait()
            self._waiting.put_nowait(None)

    def abort(self) -> None:
        """Close the association at once."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._is_closing = True
        self._waiting.put_nowait(None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol."""
        self._protocol = protocol
        if isinstance(protocol, asyncio.DatagramProtocol):
            self._datagrams = protocol

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        sender, receiver = loop.create_task(self._send()), loop.create_task(self._receive())
        try:
            await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_closing = True
            sender.cancel()
            receiver.cancel()
            try:  # each of these may be cancelled as well, where the event loop is about to end
                await asyncio.gather(sender, receiver, return_exceptions=True)
            finally:
                lost = None if not receiver.done() or receiver.cancelled() else receiver.exception()
                try:
                    await self._association.aclose()
                finally:
                    self._protocol.connection_lost(lost if isinstance(lost, BrokenResourceError) else None)

    async def _send(self) -> None:
        while waiting := await self._waiting.get():
            data, to = waiting
            try:
                await self._association.sendto(data, to.host, to.port)
            except ClosedResourceError:
                return
            except OSError as error:
                self._datagrams.error_received(error)

    async def _receive(self) -> None:
        while True:
            data, (host, port) = await self._association.receive()
            if self._remote is None:
                self._datagrams.datagram_received(data, (host, port))
                continue
            if self._peer is None and port == self._remote.port:
                self._peer = Address(host, port)
            if self._peer == Address(host, port):
                self._datagrams.datagram_received(data, (self._remote.host, self._remote.port))
