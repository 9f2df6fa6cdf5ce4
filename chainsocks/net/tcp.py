"""TCP connects: `open_tcp`."""

from __future__ import annotations

import socket

from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address
from chainsocks.sockets import family_of

__all__ = ["open_tcp"]

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)  # set by socket(2) where possible: saves a system call


async def open_tcp(address: Address, poller: Poller | None = None, source: Address | None = None) -> SocketStream:
    """Connect to an IP address, from the local address `source` if given. The stream waits through `poller` if given.

    The caller bounds the wait.

    *Closing*: the caller closes the stream. Nothing is left open when this raises, or is cancelled.

    Raises:
        OSError: with the ``errno`` of the kernel.
    """
    sock = socket.socket(family_of(address), socket.SOCK_STREAM | _NON_BLOCKING)
    stream = PolledStream(sock, poller, short_read_is_all=True) if poller else SocketStream(sock)
    try:
        if not _NON_BLOCKING:
            sock.settimeout(0)
        # A relay forwards whole chunks, so waiting to merge small ones (Nagle) only adds latency.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            sock.bind((source.host, source.port))
        await stream.connect((address.host, address.port))
    except BaseException:
        await stream.aclose()
        raise
    return stream
