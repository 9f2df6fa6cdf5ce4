"""Listening sockets: TCP on IPv4 and IPv6, and unix; and UDP beside TCP, for listeners that take datagrams."""

from __future__ import annotations

import errno
import logging
import math
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainsocks.config.listeners import Listener, ListenerKind, SystemdSocket, UnixPath
from chainsocks.net.activation import activation, real_address
from chainsocks.net.arrivals import be_transparent, tell_arrival
from chainsocks.net.keepalive import keep_alive
from chainsocks.net.redirected import original_destination
from chainsocks.protocol.address import Address
from chainsocks.sockets import keep_urgent

__all__ = [
    "OpenListener",
    "bind_datagrams",
    "bind_listeners",
    "change_access",
    "open_listeners",
    "tcp_socket",
]

log = logging.getLogger("chainsocks.server")

ATTEMPTS = 10
"""Ports of the kernel's choice that are tried for TCP and UDP together."""

BACKLOG = 1024
"""Connections that may wait for `accept`; the kernel cuts it to its own limit (net.core.somaxconn, 4096 on Linux)."""


@dataclass(frozen=True, slots=True)
class OpenListener:
    """A bound socket, with the listener that it was opened for."""

    listener: Listener
    sock: socket.socket
    path: Path | None = None
    """The file of a unix socket, where `close` removes that."""
    find_target: Callable[[socket.socket], Address] = original_destination
    """For redirected connections: finds where a connection was going to; raises OSError for one that is gone."""

    def __str__(self) -> str:
        """Return its address as users type it, with the port that the kernel picked for port 0."""
        name = self.sock.getsockname()
        protocol = "/udp" if self.is_udp else ""
        if self.sock.family is socket.AF_INET:
            return f"{name[0]}:{name[1]}{protocol}"
        return f"[{name[0]}]:{name[1]}{protocol}" if self.sock.family is socket.AF_INET6 else f"unix:{name}"

    @property
    def is_udp(self) -> bool:
        """Whether it takes datagrams, and no connections."""
        return self.sock.type is socket.SOCK_DGRAM

    @property
    def terms(self) -> Listener:
        """The listener, with the address at which it listens if the service manager has opened the socket."""
        return real_address(self.listener, self.sock)

    @property
    def is_shared(self) -> bool:
        """Whether all processes of a server use this very socket.

        A UDP port has to be shared so: a second socket there would take datagrams from the moment it is bound.
        """
        return self.sock.family is socket.AF_UNIX or isinstance(self.listener.address, SystemdSocket) or self.is_udp

    def fit(self) -> None:
        """Have the kernel hand over connections to other addresses, where the listener is for these.

        It tells for which address of ours a datagram came, so that the answer can have that.

        Raises:
            OSError: that takes CAP_NET_ADMIN.
        """
        if self.is_udp:
            tell_arrival(self.sock)
        if self.listener.kind is ListenerKind.TPROXY:
            be_transparent(self.sock)

    def listen(self, keepalive: float = math.inf) -> None:
        """Start listening. What a TCP socket accepts inherits `keepalive` (`chainsocks.net.keepalive`).

        Raises:
            OSError: another socket listens there; ``filename`` says where.
        """
        if self.is_udp:
            return
        if self.sock.family is not socket.AF_UNIX:
            keep_alive(self.sock, keepalive)  # before that: what waits in the backlog has inherited already
        if isinstance(self.listener.address, SystemdSocket):
            return  # it does
        with _naming(self.listener):
            self.sock.listen(BACKLOG)

    def close(self) -> None:
        """Close the socket, and remove the file that it has made."""
        self.sock.close()
        if self.path:
            self.path.unlink(missing_ok=True)


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


@contextmanager
def open_listeners(listeners: Iterable[Listener], keepalive: float = math.inf) -> Iterator[list[OpenListener]]:
    """Listen at all `listeners`, in their order; a name has one socket for each of its addresses.

    *Closing*: at the end, all sockets are closed and the unix sockets are removed.

    Raises:
        OSError: an address is not available; ``filename`` says which.
    """
    with ExitStack() as stack:
        opened = bind_listeners(listeners)
        for each in opened:
            stack.callback(each.close)
        for each in opened:
            each.listen(keepalive)
        yield opened


def bind_listeners(listeners: Iterable[Listener], former: Iterable[OpenListener] = ()) -> list[OpenListener]:
    """Bind the sockets of all `listeners`, or of none, without listening; the caller closes them.

    `former` are sockets of this process that are about to be closed. One at the very address of a listener is returned
    for it, and the others do not stand in the way of an address that they cover, such as 127.0.0.1 beside 0.0.0.0.

    Raises:
        OSError: as `open_listeners`.
    """
    ports = [each.sock for each in former if each.sock.family is not socket.AF_UNIX]
    with ExitStack() as stack:
        bound: list[OpenListener] = []
        for listener in listeners:
            address = listener.address
            with _naming(listener):
                if isinstance(address, UnixPath):
                    bound.append(_bind_unix(address, listener, stack))
                elif isinstance(address, SystemdSocket):
                    bound += [OpenListener(listener, sock) for sock in activation.copies(address.name, stack)]
                else:
                    bound += [OpenListener(listener, sock) for sock in _bind_ports(address, listener, stack, ports)]
                for each in bound:
                    each.fit()
        stack.pop_all()
    return bound


@contextmanager
def _naming(listener: Listener) -> Iterator[None]:
    """Have an error say which address is not available."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(listener)) from error


def _bind_ports(
    address: Address, listener: Listener, stack: ExitStack, former: list[socket.socket]
) -> list[socket.socket]:
    """Bind the TCP sockets of a listener, and behind them a UDP socket beside each where it takes datagrams.

    Raises:
        OSError: as `_bind_tcp`, for either.
    """
    tcp = [sock for sock in former if sock.type is socket.SOCK_STREAM]
    if not listener.takes_datagrams:
        return _bind_tcp(address, stack, tcp)
    udp = {sock.getsockname(): sock for sock in former if sock.type is socket.SOCK_DGRAM}
    attempts = ATTEMPTS if address.port == 0 else 1
    while True:
        attempts -= 1
        with ExitStack() as attempt:
            streams = _bind_tcp(address, attempt, tcp)
            try:
                datagrams = [
                    udp.get(sock.getsockname()) or attempt.enter_context(_udp_beside(sock)) for sock in streams
                ]
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not attempts:
                    raise
                continue  # a port that is free for TCP need not be so for UDP
            stack.push(attempt.pop_all())
            return streams + datagrams


def bind_datagrams(streams: Iterable[OpenListener]) -> list[OpenListener]:
    """Bind a UDP socket beside each TCP socket of a listener; the caller closes them.

    Raises:
        OSError: a port is not free; ``filename`` says which.
    """
    with ExitStack() as stack:
        bound = []
        for each in streams:
            with _naming(each.listener):
                bound.append(OpenListener(each.listener, stack.enter_context(_udp_beside(each.sock))))
        stack.pop_all()
    return bound


def _udp_beside(stream: socket.socket) -> socket.socket:
    """Bind a UDP socket at the address and the port of a TCP socket; the caller closes it.

    Raises:
        OSError: the port is not free.
    """
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(stream.family, socket.SOCK_DGRAM))
        sock.settimeout(0)
        if stream.family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(stream.getsockname())
        stack.pop_all()
    return sock


def _bind_tcp(address: Address, stack: ExitStack, former: list[socket.socket]) -> list[socket.socket]:
    """Bind a socket for each address of the host. Of a name, those are left out that this machine does not have.

    Raises:
        OSError: an address cannot be bound, or the machine has none of them.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing: list[tuple[str, OSError]] = []
    for family, sockaddr in dict.fromkeys((family, sockaddr) for family, *_, sockaddr in found):
        if same := [sock for sock in former if sock.family is family and sock.getsockname() == sockaddr]:
            sockets.append(same[0])
            former.remove(same[0])
            continue
        with ExitStack() as attempt:
            try:
                sock = attempt.enter_context(tcp_socket(family))
                _bind(sock, sockaddr, former)
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


def _bind(sock: socket.socket, sockaddr: tuple[Any, ...], former: list[socket.socket]) -> None:
    """Bind a TCP socket, beside those of `former` that have its port.

    For that they share the port by SO_REUSEPORT. Linux remembers it: from then on, programs of the same user that set
    the option can share it as well.
    """
    try:
        sock.bind(sockaddr)
    except OSError as error:
        rivals = [each for each in former if each.family is sock.family and each.getsockname()[1] == sockaddr[1]]
        if error.errno != errno.EADDRINUSE or not rivals or not hasattr(socket, "SO_REUSEPORT"):
            raise
        for each in (sock, *rivals):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(sockaddr)


def _bind_unix(address: UnixPath, listener: Listener, stack: ExitStack) -> OpenListener:
    path = Path(address.path)
    _remove_stale(path)
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    sock.settimeout(0)
    sock.bind(address.path)
    stack.callback(path.unlink, missing_ok=True)
    _set_access(path, listener)  # nothing connects before listen()
    return OpenListener(listener, sock, path)


def _set_access(path: Path, listener: Listener) -> None:
    """Set the group and the mode of a unix socket, where they are given.

    Raises:
        OSError: there is no such group, or this user cannot give files to it.
    """
    if listener.group is not None:
        _give_to_group(path, listener.group)
    if listener.mode is not None:
        path.chmod(listener.mode)  # after the group, whose change may reset bits


@contextmanager
def change_access(opened: OpenListener, listener: Listener) -> Iterator[None]:
    """Give an open unix socket the mode and the group of another `listener`; take that back if the block fails.

    Raises:
        OSError: there is no such group, or this user cannot give files to it; ``filename`` says which socket.
    """
    path, before = opened.path, opened.listener
    if not path or (before.mode, before.group) == (listener.mode, listener.group):
        yield
        return
    with _naming(listener):
        status = path.stat()
        try:
            os.chown(path, -1, os.getegid() if listener.group is None else status.st_gid)
            path.chmod(0o777 & ~_umask() if listener.mode is None else listener.mode)
            _set_access(path, listener)
            yield
        except BaseException:
            os.chown(path, -1, status.st_gid)
            path.chmod(stat.S_IMODE(status.st_mode))
            raise


def _umask() -> int:
    """Return the umask, which can be read by setting it only."""
    os.umask(mask := os.umask(0o077))
    return mask


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
