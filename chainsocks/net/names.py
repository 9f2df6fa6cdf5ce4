"""Name look-ups by this machine's resolver, both ways, in trio's threads.

A look-up that is cancelled continues in its thread, and its answer is dropped.
"""

from __future__ import annotations

import socket

import trio

from chainsocks.protocol.address import Address

__all__ = ["name_of", "resolve"]


async def resolve(address: Address) -> list[Address]:
    """Look a name up; return its addresses in the resolver's order, each with the port of `address`.

    The scope of a link-local IPv6 address is lost, because an `Address` cannot hold it.

    Raises:
        socket.gaierror: the name has no address.
    """
    found = await trio.socket.getaddrinfo(address.packed, address.port, type=socket.SOCK_STREAM)
    return [Address(str(sockaddr[0]), address.port) for *_, sockaddr in found]


async def name_of(address: Address) -> str:
    """Look up the name of an IP address.

    Raises:
        OSError: it has no name.
    """
    name, _ = await trio.socket.getnameinfo((address.host, 0), socket.NI_NAMEREQD)
    return name
