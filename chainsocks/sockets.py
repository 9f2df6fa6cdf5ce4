"""What the standard library's sockets say about addresses; no event loop takes part.

The server's network (`chainsocks.net`, on trio) and the library's (`chainsocks.client`, on anyio) share it.
"""

from __future__ import annotations

import socket

from chainsocks.protocol.address import Address, AddressType, address_of

__all__ = ["family_of", "local_address"]

_DISCARD = 9


def family_of(address: Address) -> socket.AddressFamily:
    """Return the family of the sockets that can reach an IP address."""
    return socket.AF_INET6 if address.type is AddressType.IPV6 else socket.AF_INET


def local_address(peer: Address) -> Address:
    """Return the local IP address, with port 0, that the kernel would use to reach `peer`. Nothing is sent.

    Raises:
        OSError: there is no route.
    """
    with socket.socket(family_of(peer), socket.SOCK_DGRAM) as probe:
        probe.connect((peer.host, peer.port or _DISCARD))  # UDP: only chooses a route; some systems refuse port 0
        return Address(address_of(probe.getsockname()).host, 0)
