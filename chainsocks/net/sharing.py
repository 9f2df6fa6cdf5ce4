"""Addresses that several processes listen on: the parent reserves them, and each worker opens listeners of its own.

1. A reserved TCP address belongs to the process that reserved it, also while no process listens there, and port 0 has
   become a port. The socket that reserves it receives no connections. Beside it the kernel admits only sockets of the
   same user with SO_REUSEPORT; `reserve_listeners` binds without that option, so a second server cannot reserve it.
2. The kernel spreads connections over the TCP listeners at an address. A unix socket has one queue, shared by all.
3. A unix socket is removed by the process that reserved it, and by no other.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from chainsocks.config.listeners import Listener
from chainsocks.net.listeners import OpenListener, listen_tcp, open_listeners, tcp_socket

__all__ = ["can_share", "listen_beside", "reserve_listeners"]


def can_share() -> bool:
    """Whether processes can listen on one TCP address here."""
    return hasattr(socket, "SO_REUSEPORT") and hasattr(socket, "AF_UNIX")


def reserve_listeners(listeners: Iterable[Listener]) -> AbstractContextManager[list[OpenListener]]:
    """Reserve the addresses of `listeners` for `listen_beside`; otherwise as `open_listeners`."""
    return open_listeners(listeners, _reserve)


def _reserve(sock: socket.socket) -> None:
    """Keep the address of a bound TCP socket, without listening.

    It was bound without SO_REUSEPORT, and so not beside another server. From now on it shares its address with sockets
    that set that option, and with no others. SO_REUSEADDR was for connections in TIME_WAIT; it is cleared, since it
    would let any program listen here while none of our processes does.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


@contextmanager
def listen_beside(reserved: Iterable[OpenListener], keepalive: float = math.inf) -> Iterator[list[OpenListener]]:
    """Listen on all reserved addresses; close the new sockets at the end.

    Raises:
        OSError: the system has no more sockets.
    """
    with ExitStack() as stack:
        opened = []
        for each in reserved:
            if each.sock.family is socket.AF_UNIX:
                sock = stack.enter_context(each.sock.dup())
            else:
                sock = stack.enter_context(tcp_socket(each.sock.family))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(each.sock.getsockname())
                listen_tcp(sock, keepalive)
            opened.append(OpenListener(each.listener, sock))
        yield opened
