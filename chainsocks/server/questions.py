"""Questions of DNS at a listener with ``kind = "dns"``, by UDP and TCP (RFC 1035 section 4.2): a session for each.

::

    datagram ───────────────┐
    connection ─ question ──┴─ share ─ place ─ session ─ answer
                    ↑ next        (`chainsocks.server.admission`)

1. A client is an address. In one process, `MOST` questions of all clients wait for answers at a time, and
   `MOST_STREAMS` connections are open. Both are shared out as sessions are (`chainsocks.shares`), so a flood of one
   client leaves room for the others. A question that has no share or no place is dropped, and a connection is reset:
   their clients ask again. A refusal would send them to another resolver, maybe around this one.
2. A datagram that repeats a question which waits for its answer is that question.
3. What is no question is answered at once, or dropped: no session and no line in the log. An answer is never answered,
   so two servers cannot keep each other busy.
4. A connection may have `MOST_OF_STREAM` questions that wait; their answers come in any order (RFC 7766 section 6.2.1).
5. An answer by UDP fits what the client takes, and leaves from the address that was asked.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.listeners import Listener
from chainsocks.net.arrivals import Arrival, send_answer, take_arrivals
from chainsocks.net.stream import SocketStream
from chainsocks.network import reset_on_close
from chainsocks.protocol.address import SockAddr
from chainsocks.protocol.dns import Query, parse_query
from chainsocks.server.silent_client import SilentClient
from chainsocks.session.connection import Connection
from chainsocks.shares import Shares, client_of, reserve_of

__all__ = ["MOST", "MOST_OF_STREAM", "MOST_STREAMS", "Asker", "Questions"]

log = logging.getLogger("chainsocks.server")

MOST, MOST_STREAMS, MOST_OF_STREAM = 1024, 256, 16

Ends = tuple[SockAddr, SockAddr]
"""The client's, and ours."""

_LENGTH = 2
_QUIET = 60
"""Seconds between two warnings that questions are dropped."""


class Asker(SilentClient):
    """The client of a question: the answer goes to `send`."""


class _AskerByDatagram(Asker):
    def __init__(self, closed: Callable[[], None], query: Query, arrival: Arrival, sock: socket.socket) -> None:
        super().__init__(closed, (arrival.client.sockaddr, arrival.here.sockaddr))
        self._query = query
        self._arrival = arrival
        self._socket = sock

    async def send(self, item: bytes) -> None:
        send_answer(self._socket, self._query.in_datagram(item), self._arrival)
        await trio.lowlevel.checkpoint()


class _AskerByStream(Asker):
    def __init__(self, closed: Callable[[], None], conversation: _Conversation) -> None:
        super().__init__(closed, conversation.ends)
        self._conversation = conversation

    async def send(self, item: bytes) -> None:
        await self._conversation.send(item)

    async def aclose(self) -> None:
        await super().aclose()
        await self._conversation.close_if_over()


class _Conversation:
    """The questions and answers of one connection, which is closed once neither is to come."""

    def __init__(self, stream: SocketStream, ends: Ends) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._data = b""
        self._has_room = trio.Event()
        self.waiting: dict[Asker, None] = {}
        self.is_read = True
        """Whether questions are to come."""
        self.ends = ends

    async def receive(self) -> bytes:
        """Return the next message; nothing at the end, in the middle of one too."""
        while len(self._data) < self._size:
            try:
                self._data += await self._stream.receive()
            except EndOfStream:
                return b""
        message, self._data = self._data[_LENGTH : self._size], self._data[self._size :]
        return message

    @property
    def is_midway(self) -> bool:
        """Whether a part of a message has come."""
        return bool(self._data)

    @property
    def _size(self) -> int:
        return _LENGTH + int.from_bytes(self._data[:_LENGTH], "big") if len(self._data) >= _LENGTH else _LENGTH

    async def send(self, message: bytes) -> None:
        """Send one message, whole or not at all: a part of one ends the connection.

        Raises:
            BrokenResourceError: the client has left.
        """
        async with self._sending:
            try:
                await self._stream.send(len(message).to_bytes(_LENGTH, "big") + message)
            except BaseException:
                self.break_off()
                raise

    def break_off(self) -> None:
        """End the connection, and have the sessions of its questions know."""
        reset_on_close(self._stream)
        for asker in self.waiting:
            asker.break_off()
        try:
            self._stream.break_off()
        except OSError:
            pass  # it has ended by itself

    async def wait_for_room(self) -> None:
        """Wait until one more question may wait for its answer."""
        while len(self.waiting) >= MOST_OF_STREAM:
            self._has_room = trio.Event()
            await self._has_room.wait()

    def note_answered(self, asker: Asker) -> None:
        """Note that a question has ended."""
        self.waiting.pop(asker, None)
        self._has_room.set()

    async def close_if_over(self) -> None:
        """Close the connection once no question is to come, and no answer."""
        if not (self.is_read or self.waiting):
            await self._stream.aclose()


class Questions:
    """See the module.

    `begin` begins the session of a question, which closes its asker, or returns False if there is no place for that.
    `run` starts a task.
    """

    def __init__(self, begin: Callable[[Connection, Asker], bool], run: Callable[..., None]) -> None:
        self._begin = begin
        self._run = run
        self._shares = Shares(MOST, reserve_of(MOST))
        self._streams = Shares(MOST_STREAMS, reserve_of(MOST_STREAMS))
        self._pending = set[tuple[object, int, bytes]]()
        self._warned_at = -float("inf")

    async def serve_datagrams(self, sock: socket.socket, terms: Callable[[], Listener]) -> None:
        """Answer what comes to a UDP socket on `terms`, until cancelled."""
        await take_arrivals(sock, lambda arrival: self._take(arrival, sock, terms()))

    def _take(self, arrival: Arrival, sock: socket.socket, listener: Listener) -> None:
        query = parse_query(arrival.data)
        if isinstance(query, bytes):
            send_answer(sock, query, arrival)
            return
        if query is None or (key := (arrival.client, query.id, query.question)) in self._pending:
            return
        host = arrival.client.zoned
        account = client_of(host)
        if not self._may_ask(account):
            return

        def closed() -> None:
            self._pending.remove(key)
            self._shares.give_back(account)

        asker = _AskerByDatagram(closed, query, arrival, sock)
        if self._begin(Connection(asker, str(arrival.client), host, listener, question=query), asker):
            self._pending.add(key)
            self._shares.take(account)

    def _may_ask(self, account: str) -> bool:
        if self._shares.allows(account):
            return True
        now = trio.current_time()
        if now >= self._warned_at + _QUIET:
            self._warned_at = now
            log.warning(
                "%d questions of DNS wait for answers: those of clients that have most of them are dropped",
                self._shares.taken,
            )
        return False

    def take_stream(self, stream: SocketStream, connection: Connection, seconds: float) -> None:
        """Have the questions of a connection answered, which has `seconds` for each.

        *Closing*: the stream is closed once the last question has its answer, and at once if there is no share for it.
        """
        account = client_of(connection.host)
        try:
            ends = stream.socket.getpeername(), stream.socket.getsockname()
        except OSError:
            ends = None  # the client is gone
        if ends and self._streams.allows(account):
            self._streams.take(account)
            self._run(self._serve_stream, stream, connection, ends, seconds, account)
        else:
            reset_on_close(stream)
            stream.socket.close()

    async def _serve_stream(
        self, stream: SocketStream, connection: Connection, ends: Ends, seconds: float, account: str
    ) -> None:
        conversation = _Conversation(stream, ends)
        try:
            await self._converse(conversation, connection, seconds)
        except BrokenResourceError:
            conversation.break_off()
        finally:
            self._streams.give_back(account)
            conversation.is_read = False
            await conversation.close_if_over()

    async def _converse(self, conversation: _Conversation, connection: Connection, seconds: float) -> None:
        while True:
            await conversation.wait_for_room()
            message = None
            with trio.move_on_after(seconds):
                message = await conversation.receive()
            if message is None and conversation.waiting and not conversation.is_midway:
                continue  # it waits for answers
            if not message:
                return
            query = parse_query(message)
            if query is None:
                return
            if isinstance(query, bytes):
                with trio.move_on_after(seconds):
                    await conversation.send(query)
            elif not self._ask(conversation, connection._replace(question=query)):
                conversation.break_off()
                return

    def _ask(self, conversation: _Conversation, connection: Connection) -> bool:
        account = client_of(connection.host)
        if not self._may_ask(account):
            return False

        def closed() -> None:
            self._shares.give_back(account)
            conversation.note_answered(asker)

        asker = _AskerByStream(closed, conversation)
        if not self._begin(connection._replace(client=asker), asker):
            return False
        conversation.waiting[asker] = None
        self._shares.take(account)
        return True
