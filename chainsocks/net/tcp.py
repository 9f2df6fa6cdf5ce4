"""TCP connects: `open_tcp`."""

from __future__ import annotations

from chainsocks.egress import Egress
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address
from chainsocks.sockets import family_of, leave_by, tcp_socket

__all__ = ["open_tcp"]


async def open_tcp(address: Address, poller: Poller | None = None, egress: Egress | None = None) -> SocketStream:
    """Connect to an IP address, as `egress` says if given. The stream waits through `poller` if given.

    The caller bounds the wait.

    *Closing*: the caller closes the stream. Nothing is left open when this raises, or is cancelled.

    Raises:
        OSError: with the ``errno`` of the kernel.
    """
    sock = tcp_socket(family_of(address))
    stream: SocketStream
    if poller:
        stream = PolledStream(sock, poller, short_read_is_all=True, may_delay=True)
    else:
        stream = SocketStream(sock)
        stream.avoid_delay()
    try:
        if egress:
            leave_by(sock, egress, address)
        await stream.connect(address.sockaddr)
    except BaseException:
        await stream.aclose()
        raise
    return stream
