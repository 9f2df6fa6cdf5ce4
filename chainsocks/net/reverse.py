"""The other way of a name look-up: from an address to its name."""

from __future__ import annotations

import socket

import trio

from chainsocks.protocol.address import Address

__all__ = ["name_of"]


async def name_of(address: Address) -> str:
    """Ask this machine's resolver for the name of an IP address.

    A look-up that is cancelled goes on in its thread, and its answer is thrown away.

    Raises:
        OSError: it has no name.
    """
    name, _ = await trio.socket.getnameinfo((address.host, 0), socket.NI_NAMEREQD)
    return name
