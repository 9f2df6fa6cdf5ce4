"""Listening sockets for one expected connection, as BIND needs them."""

from __future__ import annotations

import socket

from trio.lowlevel import notify_closing, wait_readable

from chainsocks.egress import Egress
from chainsocks.net.keepalive import keep_alive
from chainsocks.net.listeners import tcp_socket
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address, AddressType, address_of
from chainsocks.sockets import use_interface

__all__ = ["InboundListener", "listen"]

BACKLOG = 16
"""Connections that may wait. Those of other hosts must not keep the expected one out."""


class InboundListener:
    """A listening socket, which it owns; the streams it accepts wait through `poller` if there is one."""

    def __init__(self, sock: socket.socket, poller: Poller | None = None) -> None:
        self._socket = sock
        self._poller = poller

    @property
    def address(self) -> Address:
        """Where it listens."""
        return address_of(self._socket.getsockname())

    def keep_alive(self, seconds: float) -> None:
        """Have the streams that it accepts find a vanished peer; see `chainsocks.net.keepalive.keep_alive`."""
        keep_alive(self._socket, seconds)

    async def accept(self) -> tuple[SocketStream, Address]:
        """Wait for a connection; return it with its peer's address.

        *Closing*: the stream is the caller's.

        Raises:
            OSError: the kernel's error, with its ``errno``.
        """
        while True:
            await wait_readable(self._socket)
            try:
                sock, peer = self._socket.accept()
            except BlockingIOError:
                continue  # the connection was reset before it was accepted
            sock.settimeout(0)
            poller = self._poller
            stream = PolledStream(sock, poller, short_read_is_all=True) if poller else SocketStream(sock)
            return stream, address_of(peer)

    async def aclose(self) -> None:
        """Close the socket. Connections in its backlog are reset."""
        if self._socket.fileno() >= 0:
            notify_closing(self._socket)
            self._socket.close()


async def listen(address: Address, poller: Poller | None = None, egress: Egress | None = None) -> InboundListener:
    """Listen on an IP address, on a port of the kernel's choice for port 0.

    Connections use the interface and the mark of `egress` if given.

    *Closing*: the listener is the caller's.

    Raises:
        OSError: the kernel's error, with its ``errno``.
    """
    sock = tcp_socket(socket.AF_INET6 if address.type is AddressType.IPV6 else socket.AF_INET)
    try:
        if egress:
            use_interface(sock, egress)
        sock.bind(address.sockaddr)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return InboundListener(sock, poller)
