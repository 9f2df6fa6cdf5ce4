"""TCP connects."""

from __future__ import annotations

import socket

from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address
from chainsocks.sockets import family_of

__all__ = ["open_tcp"]

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)  # from birth where the kernel can, which saves a system call


async def open_tcp(address: Address, poller: Poller | None = None, source: Address | None = None) -> SocketStream:
    """Connect to an IP address, from `source` if that matters; the stream waits through `poller` if there is one.

    *Closing*: the stream is the caller's, and so is a bound on the wait.

    Raises:
        OSError: with its ``errno``, as the kernel says it.
    """
    sock = socket.socket(family_of(address), socket.SOCK_STREAM | _NON_BLOCKING)
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
