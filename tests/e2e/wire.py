"""SOCKS by hand: requests as bytes, and what comes back.

Nothing here is taken from the package, so that no mistake of its own can hide in it.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.programs import PATIENCE, SocketAddress, loopback_host

CONNECT, BIND, UDP_ASSOCIATE = 1, 2, 3

GREETING = b"\x05\x01\x00"
"""SOCKS5: I can do without a login."""


def socks5_request(destination: SocketAddress, command: int = CONNECT) -> bytes:
    """A SOCKS5 request; a host that is no IP address goes as a name."""
    host, port = destination[:2]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        address = bytes((3, len(host))) + host.encode()
    else:
        address = (b"\x01" if ip.version == 4 else b"\x04") + ip.packed
    return bytes((5, command, 0)) + address + port.to_bytes(2, "big")


def socks5_login(name: str, password: str) -> bytes:
    """The sub-negotiation of RFC 1929."""
    return bytes((1, len(name))) + name.encode() + bytes((len(password),)) + password.encode()


def socks4_request(destination: SocketAddress, user: str = "", command: int = CONNECT) -> bytes:
    """A SOCKS4 request; a host that is no IP address makes it SOCKS4a."""
    host, port = destination[:2]
    name = b""
    try:
        ip = ipaddress.IPv4Address(host).packed
    except ValueError:
        ip, name = b"\x00\x00\x00\x01", host.encode() + b"\x00"
    return bytes((4, command)) + port.to_bytes(2, "big") + ip + user.encode() + b"\x00" + name


def connect(address: SocketAddress | str) -> socket.socket:
    """Open a connection on which nothing may take for ever; `address` may be the path of a unix socket.

    On loopback each client has a host of its own. The kernel gives the port of a client that has left to the next one
    soon, and logs are searched for the address of a client.
    """
    if not isinstance(address, str):
        source = (loopback_host(), 0) if address[0].startswith("127.") else None
        return socket.create_connection(address[:2], PATIENCE, source)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(address)
    return sock


def read(sock: socket.socket, size: int) -> bytes:
    """Read that many bytes; fewer when the connection ends before."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def read_to_end(sock: socket.socket) -> bytes:
    """Read until the other side has finished."""
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def read_socks5_reply(sock: socket.socket) -> tuple[int, bytes]:
    """Read a SOCKS5 reply; return its code, and its address as it is on the wire."""
    head = read(sock, 4)
    assert len(head) == 4, f"no whole reply: {head!r}"
    assert (head[0], head[2]) == (5, 0)
    address = read(sock, {1: 4, 4: 16}[head[3]] + 2)
    return head[1], address


def ask_socks5(sock: socket.socket, destination: SocketAddress, command: int = CONNECT) -> int:
    """Negotiate and make a request without a login; return the code of the reply."""
    sock.sendall(GREETING)
    assert read(sock, 2) == b"\x05\x00"
    sock.sendall(socks5_request(destination, command))
    return read_socks5_reply(sock)[0]


@contextmanager
def connected(proxy: SocketAddress | str, destination: SocketAddress) -> Iterator[socket.socket]:
    """A connection to `destination` through `proxy`."""
    with connect(proxy) as sock:
        assert ask_socks5(sock, destination) == 0
        yield sock


def reset(sock: socket.socket) -> None:
    """Close a connection in the rudest way there is."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
