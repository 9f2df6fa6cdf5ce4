"""The clients of the control socket: how many there may be, and their idle timeout.

Only the user of the server, and root, can connect. The limits are for programs that went wrong.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field

import trio

from chainsocks.control.fleet import Fleet
from chainsocks.control.serve import serve_control

__all__ = ["IDLE_TIMEOUT", "MOST_CLIENTS", "serve_control_socket"]

log = logging.getLogger("chainsocks.control")

MOST_CLIENTS = 32
"""At a time. For a further one, the client that came first is dropped."""

IDLE_TIMEOUT = 300.0
"""Seconds without a request, after which a client is dropped."""

PAUSE = 0.1
"""Seconds until the next attempt to accept, where no file can be opened."""


@dataclass(eq=False, slots=True)
class _Clients:
    """The clients that are connected, the oldest first."""

    scopes: dict[trio.CancelScope, None] = field(default_factory=dict)

    async def serve(self, stream: trio.SocketStream, fleet: Fleet) -> None:
        if len(self.scopes) >= MOST_CLIENTS:
            oldest = next(iter(self.scopes))
            del self.scopes[oldest]
            oldest.cancel()
        with trio.CancelScope() as scope:
            self.scopes[scope] = None
            await serve_control(stream, fleet, IDLE_TIMEOUT)
        self.scopes.pop(scope, None)


async def serve_control_socket(listening: socket.socket, fleet: Fleet) -> None:
    """Answer the clients of a listening socket, until cancelled; the caller closes the socket."""
    clients = _Clients()
    listener = trio.socket.from_stdlib_socket(listening)
    async with trio.open_nursery() as nursery:
        while True:
            try:
                sock, _ = await listener.accept()
            except OSError as error:
                log.debug("the control socket accepts nothing for now: %s", error.strerror)
                await trio.sleep(PAUSE)
                continue
            nursery.start_soon(clients.serve, trio.SocketStream(sock), fleet)
