"""Connections of load balancers, until it is known which client each of them is for.

::

    accept ─ from a load balancer? ─ header ─ admission, as the client that it tells of ─ session
                              └─ no ──┴─ none, or malformed: reset, and a line in the log

1. A listener with `proxy_protocol` takes nothing else: a connection from elsewhere, or without a header, is ended
   without an answer. Otherwise a client that knows the address could go around the load balancer, or claim to be any
   other client.
2. The time for the header is the load balancer's, which sends it as it connects. So it has a limit of its own, and the
   client's `handshake` begins behind it.
3. No place is held meanwhile, since the client that would hold it is not known. At most `MOST` connections wait here;
   for a further one, the oldest is ended.
4. No byte behind the header is read, so that the session finds the client's stream as if there had been no header.
5. A header that has arrived with its connection is read as that is accepted, without a task, and the session may use
   the lane.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio
from anyio import BrokenResourceError

from chainsocks.net.stream import SocketStream
from chainsocks.network import reset_on_close
from chainsocks.observe.events import SessionEvents
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.observe.privacy import shown
from chainsocks.observe.record import Record
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.proxy_protocol import Ends, HeaderReader
from chainsocks.session.begun import CUT_OFF
from chainsocks.session.connection import Connection
from chainsocks.session.service import Service

__all__ = ["MOST", "Reception"]

MOST = 1024
"""Connections whose headers may be incomplete at a time. A load balancer that works has hardly any."""

MOST_AT_ONCE = 4096
"""Bytes of a header to look at in one call. Ordinary ones have some hundred."""


class _NotReceived(Exception):
    """There is no client to go on with; the text says why."""

    def __init__(self, problem: str, kind: OutcomeKind) -> None:
        super().__init__(problem)
        self.kind = kind


class Reception:
    """See the module."""

    def __init__(self) -> None:
        self._waiting: dict[SocketStream, None] = {}  # the oldest first

    @staticmethod
    def receive_at_once(connection: Connection, client: SocketStream) -> Connection | None:
        """Do as `receive` where the header has arrived already, as it mostly has; otherwise return None."""
        reader = HeaderReader()
        try:
            _check_sender(connection)
            taken = reader.receive_data(client.socket.recv(MOST_AT_ONCE, socket.MSG_PEEK))
            if not reader.done:
                return None
            while taken:
                taken -= len(client.socket.recv(taken))
        except (OSError, ProtocolError, _NotReceived):
            return None  # `receive` comes to the same, and says so
        return _as_told(connection, reader.ends)

    async def receive(self, connection: Connection, client: SocketStream, service: Service) -> Connection | None:
        """Read the header of a connection, and return it with the client that it tells of; None if it was ended.

        `client` is that of `connection`.
        """
        began = trio.current_time()
        try:
            _check_sender(connection)
            seconds, told = service.config.timeouts.proxy_protocol, None
            with trio.move_on_after(seconds) as scope:
                told = await self._read_header(client)
            if scope.cancelled_caught:
                raise _NotReceived(f"no complete header (within {seconds:g} s)", OutcomeKind.NO_REQUEST)
        except _NotReceived as error:
            outcome = f"load balancer, PROXY header: {error}"
            await _end(client, Record(connection.name, began=began, outcome=outcome, kind=error.kind), service)
            return None
        except trio.Cancelled:
            record = Record(connection.name, began=began, outcome=CUT_OFF, kind=OutcomeKind.CUT_OFF)
            await _end(client, record, service)
            raise
        return _as_told(connection, told)

    async def _read_header(self, client: SocketStream) -> Ends | None:
        """Read a header, and no byte behind it.

        Raises:
            _NotReceived: there is none.
        """
        if len(self._waiting) >= MOST:
            self.make_room()
        self._waiting[client] = None
        reader = HeaderReader()
        try:
            while not reader.done:
                seen = await client.peek(min(reader.wanted, MOST_AT_ONCE))
                taken = reader.receive_data(seen)
                while taken:
                    taken -= len(await client.receive(taken))
        except (BrokenResourceError, ProtocolError) as error:
            if client not in self._waiting:
                raise _NotReceived("ended to make room for others", OutcomeKind.NO_REQUEST) from None
            if isinstance(error, BrokenResourceError):
                raise _NotReceived("it reset the connection", OutcomeKind.NO_REQUEST) from None
            is_end = error.cause is Cause.CLOSED
            raise _NotReceived(shown(error), OutcomeKind.NO_REQUEST if is_end else OutcomeKind.BAD_REQUEST) from None
        finally:
            self._waiting.pop(client, None)
        return reader.ends

    def make_room(self) -> bool:
        """Have the oldest connection end, for its files; return False if there is none."""
        client = next(iter(self._waiting), None)
        if client is None:
            return False
        del self._waiting[client]
        with suppress(OSError):
            client.break_off()
        return True


def _check_sender(connection: Connection) -> None:
    """Check that a connection is from a load balancer of its listener.

    Raises:
        _NotReceived: it is not.
    """
    senders = connection.listener.proxy_protocol
    if not (senders and senders.include(connection.host)):
        raise _NotReceived("refused: proxy_protocol of the listener does not name this address", OutcomeKind.REFUSED)


def _as_told(connection: Connection, told: Ends | None) -> Connection:
    if told is None:
        return connection
    return connection._replace(name=str(told.source), host=told.source.host, told=told)


async def _end(client: SocketStream, record: Record, service: Service) -> None:
    """Reset a connection that will have no session, and report it as a session that has ended."""
    reset_on_close(client)
    await client.aclose()
    record.write(service.network.now())
    if service.counters:
        service.counters.session_ended(record)
    if service.events:
        events = SessionEvents(service.events, record)
        events.started()
        events.ended()
