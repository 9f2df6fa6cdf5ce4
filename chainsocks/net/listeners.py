"""Listening sockets: TCP on IPv4 and IPv6, and unix."""

from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chainsocks.config.models import Listen, UnixPath
from chainsocks.protocol.address import Address

__all__ = ["address_bound_to", "bound_to", "listen_tcp", "open_listeners", "tcp_socket"]

BACKLOG = 1024
"""Connections that may wait for `accept`; the kernel cuts it to its own limit (net.core.somaxconn, 4096 on Linux)."""


def tcp_socket(family: int) -> socket.socket:
    """Make a socket for a listener; it has no address yet."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Linux hands it on to what is accepted
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # so that 0.0.0.0 and [::] go together
    return sock


def listen_tcp(sock: socket.socket) -> None:
    """Let connections come to a socket that has its address."""
    sock.listen(BACKLOG)


@contextmanager
def open_listeners(
    listens: Iterable[Listen], when_bound: Callable[[socket.socket], None] = listen_tcp
) -> Iterator[list[socket.socket]]:
    """Listen on all of `listens`; close them, and remove the unix sockets, at the end.

    `when_bound` is called with each TCP socket that has its address.

    Raises:
        OSError: one of them cannot be had; ``filename`` says which.
    """
    with ExitStack() as stack:
        sockets = []
        for listen in listens:
            try:
                if isinstance(listen, UnixPath):
                    opened = [_listen_unix(listen, stack)]
                else:
                    opened = _bind_tcp(listen, stack)
                    for sock in opened:
                        when_bound(sock)
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), str(listen)) from error
            sockets += opened
        yield sockets


def bound_to(sock: socket.socket) -> str:
    """Name a listening socket as users type it, with the port that the kernel picked for port 0."""
    name = sock.getsockname()
    if sock.family is socket.AF_INET:
        return f"{name[0]}:{name[1]}"
    return f"[{name[0]}]:{name[1]}" if sock.family is socket.AF_INET6 else f"unix:{name}"


def address_bound_to(sock: socket.socket) -> Listen:
    """Return where a listening socket is, with the port that the kernel picked for port 0."""
    name = sock.getsockname()
    return UnixPath(name) if sock.family not in (socket.AF_INET, socket.AF_INET6) else Address(name[0], name[1])


def _bind_tcp(address: Address, stack: ExitStack) -> list[socket.socket]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets = []
    for family, _, _, _, sockaddr in found:
        sock = stack.enter_context(tcp_socket(family))
        sock.bind(sockaddr)
        sockets.append(sock)
    return sockets


def _listen_unix(listen: UnixPath, stack: ExitStack) -> socket.socket:
    path = Path(listen.path)
    _remove_stale(path)
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    sock.settimeout(0)
    sock.bind(listen.path)
    stack.callback(path.unlink, missing_ok=True)
    sock.listen(BACKLOG)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove what a killed server left behind; leave a socket that somebody serves, and any other file."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, "a file of another kind is in the way")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            pass  # its backlog is full: busy, and so alive
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "somebody serves this socket already")
