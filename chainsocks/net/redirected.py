"""Where a redirected connection was going to, as the kernel remembers it (Linux's netfilter)."""

from __future__ import annotations

import errno
import socket
import struct

from chainsocks.protocol.address import Address, AddressType, address_of

__all__ = ["original_destination"]

_SO_ORIGINAL_DST = 80
"""The same number in both families: SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST."""

_NOT_REDIRECTED = {errno.ENOENT, errno.ENOPROTOOPT, errno.EOPNOTSUPP}


def original_destination(connection: socket.socket) -> Address:
    """Return where the client of a TCP connection has connected to, before nftables redirected it.

    For a connection that was not redirected, this is where it has arrived: at a listener of ours.

    Raises:
        OSError: the client is gone.
    """
    here = address_of(connection.getsockname())
    try:
        if connection.family == socket.AF_INET6 and here.type is AddressType.IPV6:
            found = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
            _, port, _, packed, scope = struct.unpack("=H2s4s16sI", found)
            host = socket.inet_ntop(socket.AF_INET6, packed)
            return Address(host, int.from_bytes(port, "big"), scope=scope if host.startswith("fe80:") else 0)
        found = connection.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
    except OSError as error:
        if error.errno in _NOT_REDIRECTED:
            return here
        raise
    return Address(socket.inet_ntoa(found[4:8]), int.from_bytes(found[2:4], "big"))
