"""Addresses that several processes listen on: one process reserves them, and each of the others has its own listeners.

1. A reserved TCP address belongs to whoever reserved it, also while nobody listens there, and port 0 has become a port.
   No connection comes to the socket that reserves it. Of others, the kernel lets in only programs of the same user that
   ask for a shared port; a second `reserve_listeners` does not.
2. The kernel spreads connections over the TCP listeners at an address. A unix socket has one queue, which all share.
3. A unix socket is removed by whoever reserved it, and by nobody else.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from chainsocks.config.models import Listen
from chainsocks.net.listeners import listen_tcp, open_listeners, tcp_socket

__all__ = ["can_share", "listen_beside", "reserve_listeners"]


def can_share() -> bool:
    """Whether processes can listen on one TCP address here."""
    return hasattr(socket, "SO_REUSEPORT") and hasattr(socket, "AF_UNIX")


def reserve_listeners(listens: Iterable[Listen]) -> AbstractContextManager[list[socket.socket]]:
    """Take hold of all of `listens`, for `listen_beside`; otherwise as `chainsocks.net.listeners.open_listeners`."""
    return open_listeners(listens, _reserve)


def _reserve(sock: socket.socket) -> None:
    """Keep the address of a bound TCP socket, without listening.

    It got its address without SO_REUSEPORT, and so not beside another server. From now on it shares it with those that
    set that option, and with nobody else: SO_REUSEADDR, which was for what earlier connections left behind, would let
    any program listen here while none of our processes does.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


@contextmanager
def listen_beside(reserved: Iterable[socket.socket]) -> Iterator[list[socket.socket]]:
    """Listen on all reserved addresses; close these listeners at the end.

    Raises:
        OSError: the system has no more sockets to give.
    """
    with ExitStack() as stack:
        sockets = []
        for place in reserved:
            if place.family is socket.AF_UNIX:
                sock = stack.enter_context(place.dup())
            else:
                sock = stack.enter_context(tcp_socket(place.family))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(place.getsockname())
                listen_tcp(sock)
            sockets.append(sock)
        yield sockets
