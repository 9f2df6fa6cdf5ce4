"""The lane: ordinary direct sessions that run by callbacks of the poller, without a task of their own.

The ordinary way of a session is a task: `chainsocks.session.session` tells its story from top to bottom. Every session
that goes through a hop is one. Read that module first.

What it is
    A direct session of a few bytes waits for a socket five times, and does next to nothing between the waits. As a task
    it pays trio for being one: a task, a cancel scope and three to four reschedules, 45 to 75 us, which is about what a
    whole session costs a SOCKS server written in Go. In the lane a session is an object with one callback for each of
    its two sockets. The poller calls them (`chainsocks.net.poller`), and the heap of the deadlines ends each step in
    time (`chainsocks.server.deadlines`).

What it takes
    SOCKS5, SOCKS4 and 4a; CONNECT; each message of the client whole in its read; no login, or one that is known; a
    decision of the rules that needs no lookup; the direct way to an IP address, or to a name with one address that is
    known. `chainsocks.server.lane_terms` says which configuration keys the lane honours.

What it never does
    - It never waits, for a lookup or a thread, and never retries. A session that needs that becomes a task.
    - It never answers a refusal, a failed dial or a broken message. The task does.
    - It is no second implementation. Messages are read by the decoders of the real handshakes, the rules, the access
      checks, the record, the errors and the relay are the same objects. A session becomes a task by having a fresh
      handshake read the bytes that the client has sent so far, and dropping the answers that the client has got
      (`chainsocks.session.begun.Begun`).
    - It never outlives its owner. One task for each listener owns the sessions, in the nursery of all sessions: when
      that is cancelled, each session is closed, and writes its line.

What goes wrong easily
    - A socket that is closed within a batch of events leaves its descriptor to the next one, and an event of the old
      socket may still be at hand. So sockets are closed after the batch (`Poller.close_soon`), and "would block" is no
      news anywhere.
    - Events are edge-triggered: each is reported once. A task that takes a socket over gets the earlier ones.

Alternatives, as x times the CPU of a Go server: prototypes, measured in interleaved runs before this was built. Itself
it had 0.8 to 1.06 in three such runs.
    - A task for each session, as elsewhere: 3.4. A bare trio task that only relays, without log and deadline: 1.2 to
      1.3. So no task way can get there.
    - The lane over the handshakes' state machines, object by object: 1.2 to 1.3, against 1.0 with the bare decoders.
    - Bare descriptors and the poller's insides inlined: 0 to 5 % less, for code that reaches into other modules.
    - The same lane compiled: 0.6. It could replace this one, and only this one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

import trio

from chainsocks.config.listeners import Listener
from chainsocks.net.keepalive import Keepalive
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller
from chainsocks.server.deadlines import Deadlines
from chainsocks.server.lane_session import HandOver, LaneSession, Shared
from chainsocks.server.lane_terms import Terms
from chainsocks.session.connection import Connection
from chainsocks.session.place import Place
from chainsocks.session.service import Service

__all__ = ["Lane"]

log = logging.getLogger("chainsocks.session")


class Lane:
    """The sessions of one listener in the lane; `run` owns them.

    `hand_over` starts the task of a session that leaves the lane.
    """

    def __init__(
        self,
        listener: Listener,
        poller: Poller,
        deadlines: Deadlines,
        keepalive: Keepalive,
        hand_over: HandOver,
    ) -> None:
        self._listener = listener
        self._sessions: dict[LaneSession, None] = {}  # a set would take up to twice the memory
        self._keepalive = keepalive
        keepalive.sources.append(self)  # until `run` has ended
        self._shared = Shared(poller, deadlines, keepalive, hand_over, self._left)
        self._terms: Terms | None = None
        self._is_closing = False
        self._is_empty = trio.Event()

    def begin(self, connection: Connection, client: PolledStream, service: Service, place: Place) -> bool:
        """Begin the session of a connection in its place; return False if it has to be a task from its start.

        `client` is that of `connection`.
        """
        terms = self._terms
        if terms is None or terms.service is not service:
            terms = self._terms = Terms(self._listener, service)
        if not terms.are_open or self._is_closing or log.isEnabledFor(logging.DEBUG):  # it writes no debugging lines
            return False
        if not self._sessions:
            self._keepalive.notice()
        self._sessions[LaneSession(self._shared, terms, connection, client, place)] = None
        return True

    @property
    def sessions(self) -> Collection[LaneSession]:
        """Those that run."""
        return self._sessions.keys()

    async def run(self) -> None:
        """Own the sessions until `close` has been called and all have ended; cut them off when cancelled."""
        try:
            await self._is_empty.wait()
        finally:
            self._is_closing = True
            self._keepalive.sources.remove(self)
            for session in [*self._sessions]:
                session.cut_off()

    def close(self) -> None:
        """No further session will begin: `run` ends with the last one."""
        self._is_closing = True
        if not self._sessions:
            self._is_empty.set()

    def _left(self, session: LaneSession) -> None:
        self._sessions.pop(session, None)
        if self._is_closing and not self._sessions:
            self._is_empty.set()
