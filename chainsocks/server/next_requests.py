"""Connections of HTTP clients between two requests, each of which is a session of its own.

::

    session ─ its response is complete ─ wait for the next request ─ admission ─ session
                                                                 └─ closed, when that takes too long

1. A connection that waits here holds no place. As many may wait as connections may wait for a session, by the limit of
   open files. For a further one, the one that has waited longest is closed, as its client expects of any server (RFC
   9112 section 9.5).
2. The first bytes of the next request are read here, and handed on with the connection. An empty line is none (RFC
   9112 section 2.2): `chainsocks.protocol.http_proxy.has_begun`.
"""

from __future__ import annotations

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.protocol.http_proxy import has_begun
from chainsocks.server.file_limit import current_limit, waiting_that_fit
from chainsocks.session.connection import Connection, Earlier

__all__ = ["NextRequests"]


class NextRequests:
    """See the module."""

    def __init__(self) -> None:
        self._waiting: dict[ByteStream, trio.CancelScope] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, connection: Connection, seconds: float) -> Connection | None:
        """Wait until the client sends its next request, for `seconds` at most; return None if it did not.

        The connection has been closed then.
        """
        client, earlier = connection.client, connection.earlier or Earlier(connection.client)
        heard = earlier.heard
        if len(self._waiting) >= waiting_that_fit(current_limit()):
            self.make_room()
        try:
            with trio.move_on_after(seconds) as scope:
                self._waiting[client] = scope
                while not has_begun(heard):
                    heard += await earlier.client.receive()
        except (BrokenResourceError, EndOfStream):
            pass  # it has no further request
        finally:
            self._waiting.pop(client, None)
            if not has_begun(heard):
                await client.aclose()
        return connection._replace(earlier=earlier._replace(heard=heard)) if has_begun(heard) else None

    def make_room(self) -> bool:
        """Have the connection that has waited longest close, for its files; return False if there is none."""
        client = next(iter(self._waiting), None)
        if client is None:
            return False
        self._waiting.pop(client).cancel()
        return True
