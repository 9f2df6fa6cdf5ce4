"""The accept loop of one listening socket.

1. Every TCP connection is accepted: only then is it known which client it is (`chainsocks.server.admission`). Those of
   a unix socket are all one client. They are left in its backlog, which workers share, until there is room.
2. No error of accept(2) ends the loop. One that may last, such as no file descriptors, is logged once, and accept is
   repeated at intervals. For want of files, connections without a complete request are ended.
3. Other tasks have their turn, however many connections or errors there are.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn

import trio
from trio.lowlevel import checkpoint, wait_readable

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

    `start` owns the connection. `make_room` has another one end, for its files, or returns False.
    `wait_for_room` is waited for before each connection.
    """
    warned = False
    lost = accepted = 0
    with ExitStack() as stack:
        wait: Callable[[], Awaitable[None]] = partial(wait_readable, listening)
        if poller:
            polled = PolledListener(listening, poller)
            stack.callback(polled.stop)
            wait = polled.wait
        while True:
            if wait_for_room:
                await wait_for_room()
            try:
                connection, peer = listening.accept()
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    lost = 0
                    await wait()
                    continue
                lost += 1
                if error.errno in LOST_IN_BACKLOG and lost % MAX_LOST:
                    await checkpoint()  # an error that never ends must not keep signals and sessions waiting
                    continue
                if not warned:
                    hint = " (see `ulimit -n`, max_sessions)" if error.errno in OUT_OF_RESOURCES else ""
                    log.warning("cannot accept: %s; trying again%s", error.strerror, hint)
                    warned = True
                await trio.sleep(A_MOMENT if error.errno in OUT_OF_RESOURCES and make_room() else ACCEPT_BACKOFF)
                continue
            warned = False
            lost = 0
            connection.settimeout(0)
            start(connection, peer)
            accepted += 1
            if accepted % ACCEPTS_BEFORE_YIELD == 0:
                await checkpoint()
