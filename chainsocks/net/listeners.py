"""Listening sockets: TCP on IPv4 and IPv6, and unix."""

from __future__ import annotations

import errno
import logging
import math
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.net.keepalive import keep_alive
from chainsocks.protocol.address import Address
from chainsocks.sockets import keep_urgent

__all__ = ["OpenListener", "listen_tcp", "open_listeners", "tcp_socket"]

log = logging.getLogger("chainsocks.server")

BACKLOG = 1024
"""Connections that may wait for `accept`; the kernel cuts it to its own limit (net.core.somaxconn, 4096 on Linux)."""


@dataclass(frozen=True, slots=True)
class OpenListener:
    """A listening socket, with the listener that it was opened for."""

    listener: Listener
    sock: socket.socket

    def __str__(self) -> str:
        """Return its address as users type it, with the port that the kernel picked for port 0."""
        name = self.sock.getsockname()
        if self.sock.family is socket.AF_INET:
            return f"{name[0]}:{name[1]}"
        return f"[{name[0]}]:{name[1]}" if self.sock.family is socket.AF_INET6 else f"unix:{name}"


def tcp_socket(family: int) -> socket.socket:
    """Make a socket for a listener; it is not bound yet."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # on Linux, accepted sockets inherit it
    keep_urgent(sock)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # so that 0.0.0.0 and [::] can share a port
    return sock


def listen_tcp(sock: socket.socket, keepalive: float = math.inf) -> None:
    """Start listening on a bound socket. What it accepts inherits `keepalive` (`chainsocks.net.keepalive`)."""
    keep_alive(sock, keepalive)  # before that: what waits in the backlog has inherited already
    sock.listen(BACKLOG)


@contextmanager
def open_listeners(
    listeners: Iterable[Listener], when_bound: Callable[[socket.socket], None] = listen_tcp
) -> Iterator[list[OpenListener]]:
    """Open the sockets of all `listeners`, in their order; a name has one socket for each of its addresses.

    `when_bound` is called with each TCP socket once it is bound.

    *Closing*: at the end, all sockets are closed and the unix sockets are removed.

    Raises:
        OSError: an address is not available; ``filename`` says which.
    """
    with ExitStack() as stack:
        opened: list[OpenListener] = []
        for listener in listeners:
            address = listener.address
            try:
                if isinstance(address, UnixPath):
                    sockets = [_listen_unix(address, listener, stack)]
                else:
                    sockets = _bind_tcp(address, stack)
                    for sock in sockets:
                        when_bound(sock)
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), str(address)) from error
            opened += [OpenListener(listener, sock) for sock in sockets]
        yield opened


def _bind_tcp(address: Address, stack: ExitStack) -> list[socket.socket]:
    """Bind a socket for each address of the host. Of a name, those are left out that this machine does not have.

    Raises:
        OSError: an address cannot be bound, or the machine has none of them.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing: list[tuple[str, OSError]] = []
    for family, sockaddr in dict.fromkeys((family, sockaddr) for family, *_, sockaddr in found):
        with ExitStack() as attempt:
            try:
                sock = attempt.enter_context(tcp_socket(family))
                sock.bind(sockaddr)
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing.append((str(sockaddr[0]), error))
            else:
                stack.push(attempt.pop_all())
                sockets.append(sock)
    if missing and not sockets:
        raise missing[0][1]
    for host, why in missing:
        log.warning("%s: this machine cannot listen on %s: %s", address, host, why.strerror)
    return sockets


def _listen_unix(address: UnixPath, listener: Listener, stack: ExitStack) -> socket.socket:
    path = Path(address.path)
    _remove_stale(path)
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    sock.settimeout(0)
    sock.bind(address.path)
    stack.callback(path.unlink, missing_ok=True)
    if listener.group is not None:
        _give_to_group(path, listener.group)
    if listener.mode is not None:
        path.chmod(listener.mode)  # after the group, whose change may reset bits; nothing connects before listen()
    sock.listen(BACKLOG)
    return sock


def _give_to_group(path: Path, group: str) -> None:
    """Change the group of a unix socket, by its name or number.

    Raises:
        OSError: there is no such group, or this user cannot give files to it.
    """
    try:
        shutil.chown(path, group=int(group) if group.isdecimal() else group)
    except LookupError:
        raise OSError(errno.EINVAL, f"this machine has no group {group}") from None
    except PermissionError:
        raise OSError(errno.EPERM, f"this user cannot give it to the group {group}, and is no member of it") from None


def _remove_stale(path: Path) -> None:
    """Remove the unix socket of a server that was killed.

    Raises:
        OSError: it is in use, or the file is no unix socket; it is left as it is.
    """
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
            pass  # its backlog is full: a server listens there, and is busy
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another server uses this socket")
