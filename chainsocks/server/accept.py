"""The accept loop of one listening socket.

1. Every TCP connection is accepted: only then is it known which client it is (`chainsocks.server.admission`). Those of
   a unix socket are all one client. They are left in its backlog, which workers share, until there is room.
2. No error of accept(2) ends the loop. One that may last, such as no file descriptors, is logged once, and accept is
   repeated at intervals. For want of files, connections without a complete request are ended.
3. Other tasks have their turn, however many connections or errors there are.
4. At the end, the connections that have come until then are accepted.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, NoReturn

import trio
from trio.lowlevel import wait_readable

from chainsocks.net.polled import PolledListener
from chainsocks.net.poller import Poller

__all__ = ["ACCEPTS_BEFORE_YIELD", "ACCEPT_BACKOFF", "MAX_LOST", "accept_connections"]

log = logging.getLogger("chainsocks.server")

LOST_IN_BACKLOG = {
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
}
"""Errors of accept(2) about one connection that failed while it waited in the backlog: the next one may be fine."""

MAX_LOST = 100
"""Consecutive `LOST_IN_BACKLOG` errors before they are treated as lasting: a security module that forbids accept(2)
returns EPERM on every call."""

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of accept(2) that fewer sessions, or higher limits, would avoid."""

ACCEPT_BACKOFF = 0.1
"""Seconds without accepting after a lasting error (precedent: trio)."""

A_MOMENT = 0.01
"""Seconds for a connection that makes room to end."""

ACCEPTS_BEFORE_YIELD = 16
"""Consecutive connections after which other tasks, such as the sessions of these, have their turn."""


async def accept_connections(
    listening: socket.socket,
    make_room: Callable[[], bool],
    poller: Poller | None,
    start: Callable[[socket.socket, Any], None],
    wait_for_room: Callable[[], Awaitable[None]] | None = None,
) -> NoReturn:
    """Accept connections until cancelled; call `start` with each one, non-blocking, and the address of its peer.

    `start` owns the connection. `make_room` has another one end, for its files, or returns False. `wait_for_room` is
    waited for before each connection. Without that, a callback of `poller` accepts what comes, and this task has the
    pauses only.
    """
    with ExitStack() as stack:
        accepting = _ListeningSocket(listening)
        stack.callback(accepting.detach)
        acceptor = _Acceptor(accepting, make_room, start)
        polled: PolledListener | None = None
        if poller:
            by_callback = None if wait_for_room else acceptor.accept_some
            polled = PolledListener(listening, poller, by_callback)
            stack.callback(polled.stop)
        stack.callback(acceptor.accept_rest)
        while True:
            if wait_for_room:
                await wait_for_room()
            pause = acceptor.accept_some(1 if wait_for_room else ACCEPTS_BEFORE_YIELD)
            if pause is None:
                if polled:
                    pause = await polled.wait()
                else:
                    await wait_readable(listening)
            if pause is not None:
                await trio.sleep(pause)


class _ListeningSocket(socket.socket):
    """A second object for a listening socket, whose family and type cost nothing to read.

    `accept` reads them each time, and making enum members of the numbers takes 1 us: an eighth of what it costs to
    accept.

    *Closing*: call `detach`; the first object has the socket.
    """

    __slots__ = ("family", "type")

    family: socket.AddressFamily
    type: socket.SocketKind

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.fileno())
        self.settimeout(0)
        self.family, self.type = listening.family, listening.type


class _Acceptor:
    """Accepts connections, and decides how long to pause afterwards."""

    def __init__(
        self, listening: socket.socket, make_room: Callable[[], bool], start: Callable[[socket.socket, Any], None]
    ) -> None:
        self._listening = listening
        self._make_room = make_room
        self._start = start
        self._warned = False
        self._lost = 0

    def accept_some(self, most: int = ACCEPTS_BEFORE_YIELD) -> float | None:
        """Accept connections; return the seconds to pause before the next ones, None if there are none now."""
        for _ in range(most):
            try:
                connection, peer = self._listening.accept()
            except BlockingIOError:
                self._lost = 0
                return None
            except OSError as error:
                return self._pause_after(error)
            self._warned = False
            self._lost = 0
            connection.settimeout(0)
            self._start(connection, peer)
        return 0

    def accept_rest(self) -> None:
        """Accept the connections that wait: the socket is about to be closed, which would reset them."""
        while self.accept_some() == 0:
            pass

    def _pause_after(self, error: OSError) -> float:
        self._lost += 1
        if error.errno in LOST_IN_BACKLOG and self._lost % MAX_LOST:
            return 0
        if not self._warned:
            hint = " (see `ulimit -n`, max_sessions)" if error.errno in OUT_OF_RESOURCES else ""
            log.warning("cannot accept: %s; trying again%s", error.strerror, hint)
            self._warned = True
        return A_MOMENT if error.errno in OUT_OF_RESOURCES and self._make_room() else ACCEPT_BACKOFF
