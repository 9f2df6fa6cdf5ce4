"""The network inside: the loopback interface, which takes every address for a local one. Set up by rtnetlink(7).

The interface has an address of its own in each family beside those of loopback: getaddrinfo(3) finds no address of a
family in which a machine has loopback addresses only, where it is asked to look (AI_ADDRCONFIG). Connections come from
127.0.0.1 and ::1 all the same.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

__all__ = ["OWN_IPV4", "OWN_IPV6", "bring_up"]

OWN_IPV4, OWN_IPV6 = "127.198.18.1", "fd63:6861:696e::1"
"""Where the listeners inside are. Both are unlikely to be in use outside, where a hop could have them."""

_ADDRESSES = ((socket.AF_INET, "198.18.0.1", "127.0.0.1"), (socket.AF_INET6, OWN_IPV6, "::1"))
"""For each family the address of the interface, and the one that connections come from."""

_LOOPBACK = 1
"""The index of the interface, in every network namespace."""

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_REQUEST, _ACKNOWLEDGE, _CREATE = 0x1, 0x4, 0x400
_UP = 1
_ADDRESS_IS, _LOCAL_ADDRESS_IS = 1, 2  # IFA_ADDRESS, IFA_LOCAL
_INTERFACE_IS, _SOURCE_IS = 4, 7  # RTA_OIF, RTA_PREFSRC
_NO_DUPLICATE_CHECK, _PERMANENT = 0x02, 0x80  # IFA_F_NODAD, IFA_F_PERMANENT
_HOST, _UNIVERSE = 254, 0  # scopes
_TABLE_LOCAL, _BY_ADMINISTRATOR, _LOCAL = 255, 4, 2
_SWITCH = Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6")


def bring_up() -> list[socket.AddressFamily]:
    """Bring loopback up, and make every address a local one. Return the families that there are: IPv6 may be off.

    Raises:
        OSError: the kernel does not allow it.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        _ask(netlink, _NEW_LINK, struct.pack("=BxHiII", 0, 0, _LOOPBACK, _UP, _UP))
        _add_family(netlink, *_ADDRESSES[0])
        with suppress(OSError):
            _SWITCH.write_text("0")  # containers often begin with it off
        try:
            _add_family(netlink, *_ADDRESSES[1])
        except OSError:
            return [socket.AF_INET]  # without an address and a route, nothing leaves by IPv6 either
    return [socket.AF_INET, socket.AF_INET6]


def _add_family(netlink: socket.socket, family: socket.AddressFamily, own: str, source: str) -> None:
    """Give the interface an address, and route all addresses of its family to it."""
    packed = socket.inet_pton(family, own)
    bits = len(packed) * 8
    header = struct.pack("=BBBBI", family, bits, _PERMANENT | _NO_DUPLICATE_CHECK, _UNIVERSE, _LOOPBACK)
    _ask(netlink, _NEW_ADDRESS, header + _attribute(_LOCAL_ADDRESS_IS, packed) + _attribute(_ADDRESS_IS, packed))
    scope = _HOST if family is socket.AF_INET else _UNIVERSE
    route = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _TABLE_LOCAL, _BY_ADMINISTRATOR, scope, _LOCAL, 0)
    route += _attribute(_INTERFACE_IS, struct.pack("=i", _LOOPBACK))
    _ask(netlink, _NEW_ROUTE, route + _attribute(_SOURCE_IS, socket.inet_pton(family, source)))


def _attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute; all values here are multiples of 4 bytes, and need no padding."""
    return struct.pack("=HH", 4 + len(value), kind) + value


def _ask(netlink: socket.socket, kind: int, body: bytes) -> None:
    """Have the kernel do what a message says.

    Raises:
        OSError: it does not.
    """
    flags = _REQUEST | _ACKNOWLEDGE | _CREATE
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    [negative] = struct.unpack_from("=i", netlink.recv(4096), 16)
    if negative:
        raise OSError(-negative, os.strerror(-negative))
