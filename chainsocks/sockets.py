"""Non-blocking sockets before an event loop has them, and the addresses of the kernel.

The server's network (`chainsocks.net`, on trio) and the library's (`chainsocks.client`, on anyio) share it.
"""

from __future__ import annotations

import errno
import secrets
import socket

from chainsocks.protocol.address import Address, AddressType, address_of, parse_zoned

__all__ = ["ANY_PORT", "MAX_DATAGRAM", "family_of", "keep_urgent", "local_address", "tcp_socket", "udp_socket"]

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)
"""Makes a new socket non-blocking where the system can do that; saves a system call."""

ANY_PORT = range(1)
"""A port of the kernel's choice."""

MAX_DATAGRAM = 65536
"""Bytes; no datagram is larger."""

UDP_BUFFER = 1024 * 1024
"""Bytes of receive buffer to request for a UDP socket, for bursts (Linux grants up to net.core.rmem_max)."""

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
        somewhere = Address(peer.host, peer.port or _DISCARD, scope=peer.scope)  # some systems refuse port 0
        probe.connect(somewhere.sockaddr)  # UDP: only chooses a route
        found = address_of(probe.getsockname())
        return Address(found.host, 0, scope=found.scope)


def tcp_socket(family: int) -> socket.socket:
    """Return a non-blocking TCP socket that keeps urgent bytes in the stream.

    *Closing*: the caller closes the socket.

    Raises:
        OSError: with the ``errno`` of the kernel.
    """
    sock = _socket(family, socket.SOCK_STREAM)
    keep_urgent(sock)
    return sock


def keep_urgent(sock: socket.socket) -> None:
    """Keep the urgent bytes that a socket receives in its stream, as ordinary ones (RFC 6093 section 5).

    The kernel leaves them out otherwise. It must be set before one arrives. Sockets that a TCP listener accepts inherit
    it on Linux.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def udp_socket(host: str, ports: range = ANY_PORT, *, ipv6_only: bool = True) -> socket.socket:
    """Return a non-blocking UDP socket bound to a local IP address and a free port of `ports`, at random.

    A link-local address has the number of its interface behind it, as in ``fe80::1%2`` (`Address.zoned`); the socket is
    bound to that interface. Without `ipv6_only`, a socket bound to ``::`` is for IPv4 too, whose addresses it has as
    ``::ffff:192.0.2.1``.

    *Closing*: the caller closes the socket.

    Raises:
        OSError: the address is not available; with EADDRINUSE if no port is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = _socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
        _bind(sock, host, ports)
    except BaseException:
        sock.close()
        raise
    return sock


def _socket(family: int, kind: int) -> socket.socket:
    sock = socket.socket(family, kind | _NON_BLOCKING)
    if not _NON_BLOCKING:
        sock.settimeout(0)
    return sock


def _bind(sock: socket.socket, host: str, ports: range) -> None:
    start = secrets.randbelow(len(ports))
    for port in (*ports[start:], *ports[:start]):
        try:
            sock.bind(parse_zoned(host, port).sockaddr)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, "no port is free")
