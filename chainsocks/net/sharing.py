"""Addresses that several processes listen on: the parent reserves them, and each worker opens listeners of its own.

1. A reserved TCP address belongs to the process that reserved it, also while no process listens there, and port 0 has
   become a port. The socket that reserves it receives no connections. Beside it the kernel admits only sockets of the
   same user with SO_REUSEPORT; `reserve_listeners` binds without that option, so a second server cannot reserve it.
2. The kernel spreads connections over the TCP listeners at an address. A unix socket, and one that the service manager
   has opened, has one queue, shared by all.
3. A unix socket is removed by the process that reserved it, and by no other.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from chainsocks.config.listeners import Listener
from chainsocks.net.listeners import OpenListener, bind_listeners, tcp_socket

__all__ = ["bind_beside", "can_share", "listen_beside", "reserve", "reserve_all", "reserve_listeners"]


def can_share() -> bool:
    """Whether processes can listen on one TCP address here."""
    return hasattr(socket, "SO_REUSEPORT") and hasattr(socket, "AF_UNIX")


@contextmanager
def reserve_listeners(listeners: Iterable[Listener]) -> Iterator[list[OpenListener]]:
    """Reserve the addresses of `listeners` for `listen_beside`; otherwise as `open_listeners`."""
    reserved = reserve_all(listeners)
    with ExitStack() as stack:
        for each in reserved:
            stack.callback(each.close)
        yield reserved


def reserve_all(listeners: Iterable[Listener]) -> list[OpenListener]:
    """Reserve the addresses of all `listeners`, or of none; the caller closes them.

    Raises:
        OSError: as `chainsocks.net.listeners.open_listeners`.
    """
    reserved = bind_listeners(listeners)
    with ExitStack() as on_failure:
        for each in reserved:
            on_failure.callback(each.close)
        for each in reserved:
            reserve(each)
        on_failure.pop_all()
    return reserved


def reserve(bound: OpenListener) -> None:
    """Keep the address of a bound TCP socket without listening; listen at a socket that is shared.

    A TCP socket was bound without SO_REUSEPORT, and so not beside another server. From now on it shares its address
    with sockets that set that option, and with no others. SO_REUSEADDR was for connections in TIME_WAIT; it is cleared,
    since it would let any program listen here while none of our processes does.
    """
    if bound.is_shared:
        bound.listen()
    else:
        bound.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


@contextmanager
def listen_beside(reserved: Iterable[OpenListener], keepalive: float = math.inf) -> Iterator[list[OpenListener]]:
    """Listen on all reserved addresses; close the new sockets at the end.

    Raises:
        OSError: the system has no more sockets.
    """
    with ExitStack() as stack:
        opened = []
        for each in reserved:
            beside = bind_beside(each)
            stack.callback(beside.close)
            if not beside.is_shared:
                beside.listen(keepalive)
            opened.append(beside)
        yield opened


def bind_beside(reserved: OpenListener) -> OpenListener:
    """Bind a socket at a reserved TCP address, without listening, or share the very socket; the caller closes it.

    Raises:
        OSError: the system has no more sockets.
    """
    if reserved.is_shared:
        return OpenListener(reserved.listener, reserved.sock.dup())
    with ExitStack() as stack:
        sock = stack.enter_context(tcp_socket(reserved.sock.family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(reserved.sock.getsockname())
        opened = OpenListener(reserved.listener, sock)
        opened.fit()
        stack.pop_all()
    return opened
