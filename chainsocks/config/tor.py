"""The word ``tor`` in place of a hop's URL: the tor of this machine, at the first of its usual places that answers."""

from __future__ import annotations

import socket

from chainsocks.protocol.address import Address, UnixAddress, parse_unix_address

__all__ = ["PLACES", "TOR", "find_tor"]

TOR = "tor"
"""The word."""

PLACES: tuple[Address, ...] = (
    parse_unix_address("unix:/run/tor/socks"),  # Debian's default, beside the port
    Address("127.0.0.1", 9050),  # tor's own default
    Address("127.0.0.1", 9150),  # Tor Browser
)
"""Where tor listens for SOCKS, in the order in which they are tried."""

_PATIENCE = 1
"""Seconds for a connection on this machine."""


def find_tor() -> Address:
    """Return where the tor of this machine listens. This connects to the usual places, and may block for a moment.

    Raises:
        ValueError: it listens at none of them.
    """
    for place in PLACES:
        if _accepts(place):
            return place
    looked = ", ".join(map(str, PLACES))
    raise ValueError(f"no tor listens on this machine, as far as is known (tried {looked}); start it, or write its URL")


def _accepts(place: Address) -> bool:
    is_unix = isinstance(place, UnixAddress)
    with socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET) as sock:
        sock.settimeout(_PATIENCE)
        try:
            sock.connect(place.path if isinstance(place, UnixAddress) else place.sockaddr)
        except OSError:
            return False
    return True
