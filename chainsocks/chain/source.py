"""Which address of ours the way to a peer begins at."""

from __future__ import annotations

import socket

from chainsocks.protocol.address import Address, AddressType, address_of

__all__ = ["own_address"]


def own_address(peer: Address) -> Address:
    """Return our address, with port 0, on the route to an IP address. Nothing is sent.

    Raises:
        OSError: there is no route.
    """
    family = socket.AF_INET6 if peer.type is AddressType.IPV6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((peer.host, peer.port or 9))  # for UDP this picks the route and no more; some systems mind port 0
        return Address(address_of(probe.getsockname()).host, 0)
