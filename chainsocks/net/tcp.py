"""TCP connections and name look-ups."""

from __future__ import annotations

import socket

import trio

from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address, AddressType

__all__ = ["open_tcp", "resolve"]

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)  # from birth where the kernel can, which saves a system call


async def open_tcp(address: Address, poller: Poller | None = None, source: Address | None = None) -> SocketStream:
    """Connect to an IP address, from `source` if that matters; the stream waits through `poller` if there is one.

    *Closing*: the stream is the caller's, and so is a bound on the wait.

    Raises:
        OSError: with its ``errno``, as the kernel says it.
    """
    family = socket.AF_INET6 if address.type is AddressType.IPV6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | _NON_BLOCKING)
    stream = PolledStream(sock, poller, short_read_is_all=True) if poller else SocketStream(sock)
    try:
        if not _NON_BLOCKING:
            sock.settimeout(0)
        # A relay forwards whole chunks: waiting for more to send (Nagle) only adds latency.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            sock.bind((source.host, source.port))
        await stream.connect((address.host, address.port))
    except BaseException:
        await stream.aclose()
        raise
    return stream


async def resolve(address: Address) -> list[Address]:
    """Look a name up on this machine; return its addresses in the order to try them, with the port of `address`.

    A look-up that is cancelled goes on in its thread, and its answer is thrown away. The scope of a link-local IPv6
    address is lost: no `Address` can hold it.

    Raises:
        socket.gaierror: the name has no address.
    """
    found = await trio.socket.getaddrinfo(address.packed, address.port, type=socket.SOCK_STREAM)
    return [Address(str(sockaddr[0]), address.port) for *_, sockaddr in found]
