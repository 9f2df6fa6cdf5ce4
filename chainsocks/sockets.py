"""Non-blocking sockets before an event loop has them, and the addresses of the kernel.

The server's network (`chainsocks.net`, on trio) and the library's (`chainsocks.client`, on anyio) share it.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import sys

from chainsocks.egress import Egress
from chainsocks.protocol.address import Address, AddressType, address_of, parse_zoned

__all__ = [
    "ANY_PORT",
    "MAX_DATAGRAM",
    "EgressError",
    "bind_source",
    "family_of",
    "keep_urgent",
    "leave_by",
    "local_address",
    "tcp_socket",
    "udp_socket",
    "unix_socket",
    "use_interface",
]

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)
"""Makes a new socket non-blocking where the system can do that; saves a system call."""

ANY_PORT = range(1)
"""A port of the kernel's choice."""

MAX_DATAGRAM = 65536
"""Bytes; no datagram is larger."""

UDP_BUFFER = 1024 * 1024
"""Bytes of receive buffer to request for a UDP socket, for bursts (Linux grants up to net.core.rmem_max)."""

_DISCARD = 9

_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen when it connects, for the pair of ends; Linux only
_NEEDS = {
    "SO_BINDTODEVICE": "interface {}",
    "SO_MARK": "mark {} (it needs CAP_NET_ADMIN)",
}
AF_INET, AF_INET6, IPV6 = socket.AF_INET, socket.AF_INET6, AddressType.IPV6  # looked up once


class EgressError(OSError):
    """A socket cannot leave this machine as it should; ``strerror`` names the key and says why."""


def family_of(address: Address) -> socket.AddressFamily:
    """Return the family of the sockets that can reach an IP address."""
    return AF_INET6 if address.type is IPV6 else AF_INET


def use_interface(sock: socket.socket, egress: Egress) -> None:
    """Have a socket use the interface and the mark of `egress`, where it has them.

    Raises:
        EgressError: there is no such interface, or this process may not do that.
    """
    if egress.interface is not None:
        _set(sock, "SO_BINDTODEVICE", egress.interface, egress.interface.encode() + b"\0")
    if egress.mark is not None:
        _set(sock, "SO_MARK", egress.mark, egress.mark.to_bytes(4, sys.byteorder))


def _set(sock: socket.socket, option: str, shown: object, value: bytes) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
    except OSError as error:
        raise _egress_error(error, _NEEDS[option].format(shown)) from None


def bind_source(sock: socket.socket, source: Address) -> None:
    """Bind a socket that will connect to a local address. With port 0, the kernel chooses the port at the connect.

    Raises:
        EgressError: this machine does not have the address, or the port is taken.
    """
    try:
        if sys.platform == "linux" and not source.port and sock.type & socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind(source.sockaddr)
    except OSError as error:
        raise _egress_error(error, f"source {source.zoned}") from None


def leave_by(sock: socket.socket, egress: Egress, address: Address) -> None:
    """Have a TCP socket that will connect to an IP address leave as `egress` says.

    Raises:
        EgressError: it cannot.
    """
    use_interface(sock, egress)
    if source := egress.source_for(address):
        bind_source(sock, source)
    elif not egress.reaches(address):
        raise EgressError(errno.EADDRNOTAVAIL, f"{egress}: of another family than {address}")


def _egress_error(error: OSError, what: str) -> EgressError:
    number = error.errno or errno.EINVAL
    return EgressError(number, f"{what}: {os.strerror(number).lower()}")


def local_address(peer: Address, egress: Egress | None = None) -> Address:
    """Return the local IP address, with port 0, that the kernel would use to reach `peer`. Nothing is sent.

    Raises:
        OSError: there is no route.
    """
    if egress and (source := egress.source_for(peer)):
        return source
    with socket.socket(family_of(peer), socket.SOCK_DGRAM) as probe:
        if egress:
            use_interface(probe, egress)
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


def unix_socket() -> socket.socket:
    """Return a non-blocking stream socket for paths.

    *Closing*: the caller closes the socket.

    Raises:
        OSError: with the ``errno`` of the kernel, or as a system has no such sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    return _socket(socket.AF_UNIX, socket.SOCK_STREAM)


def keep_urgent(sock: socket.socket) -> None:
    """Keep the urgent bytes that a socket receives in its stream, as ordinary ones (RFC 6093 section 5).

    The kernel leaves them out otherwise. It must be set before one arrives. Sockets that a TCP listener accepts inherit
    it on Linux.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def udp_socket(
    host: str, ports: range = ANY_PORT, egress: Egress | None = None, *, ipv6_only: bool = True
) -> socket.socket:
    """Return a non-blocking UDP socket bound to a local IP address and a free port of `ports`, at random.

    A link-local address has the number of its interface behind it, as in ``fe80::1%2`` (`Address.zoned`); the socket is
    bound to that interface. Without `ipv6_only`, a socket bound to ``::`` is for IPv4 too, whose addresses it has as
    ``::ffff:192.0.2.1``. `egress` has its interface and its mark; its source is `host`.

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
        if egress:
            use_interface(sock, egress)
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
