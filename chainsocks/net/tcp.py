"""TCP connects, and those to unix sockets: `open_tcp`."""

from __future__ import annotations

import errno
import os
from functools import partial

import trio

from chainsocks.egress import Egress
from chainsocks.net.outgoing import Outgoing
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address, UnixAddress
from chainsocks.sockets import family_of, leave_by, tcp_socket, unix_socket

__all__ = ["open_tcp"]

_AGAIN = 0.02
"""Seconds until a unix socket is tried again whose backlog is full."""


async def open_tcp(
    address: Address, poller: Poller | None = None, egress: Egress | None = None, outgoing: Outgoing | None = None
) -> SocketStream:
    """Connect to an IP address, as `egress` says if given, or to a unix socket.

    The stream waits through `poller` if given. The caller bounds the wait. `outgoing` notes the connection.

    *Closing*: the caller closes the stream. Nothing is left open when this raises, or is cancelled.

    Raises:
        OSError: with the ``errno`` of the kernel.
    """
    stream: SocketStream
    if isinstance(address, UnixAddress):
        return await _open_unix(address.path, poller)
    sock = tcp_socket(family_of(address))
    if poller:
        stream = PolledStream(sock, poller, short_read_is_all=True, may_delay=True)
    else:
        stream = SocketStream(sock)
        stream.avoid_delay()
    try:
        if egress:
            leave_by(sock, egress, address)
        await stream.connect(address.sockaddr, partial(outgoing.note, destination=address) if outgoing else None)
    except BaseException:
        await stream.aclose()
        raise
    return stream


async def _open_unix(path: str, poller: Poller | None) -> SocketStream:
    sock = unix_socket()
    stream = PolledStream(sock, poller) if poller else SocketStream(sock)
    try:
        # Its backlog may be full, and nothing tells when it is not any more.
        while (error := sock.connect_ex(path)) == errno.EAGAIN:  # noqa: ASYNC110
            await trio.sleep(_AGAIN)
        if error:
            raise OSError(error, os.strerror(error))
        await trio.lowlevel.checkpoint()
    except BaseException:
        await stream.aclose()
        raise
    return stream
