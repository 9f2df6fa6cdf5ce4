"""A running server: its listeners, the admission of its sessions, and the service that they use.

::

    listener ─ accept ─ admission ─ session, with the service of that moment ─ its place is free
                     │          │ └── next request, of plain HTTP ────┘   (`chainsocks.server.next_requests`)
                     ├─ header of a load balancer ─┘   (`chainsocks.server.reception`)
                     ├─ questions of DNS: a session for each   (`chainsocks.server.questions`)
                     └─ datagrams of a client: a session for all of them   (`chainsocks.server.flows`)

1. All of it can be changed while the server runs. A session uses the service that it started with to its end.
2. There are two nurseries, that of the listeners inside that of the sessions. A server that stops cancels the inner
   one, which closes the listeners and the warm ways and ends the health checks, and gives the sessions `grace` seconds.
3. A bug in one session ends that session, with an error in the log.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import trio

from chainsocks.config.listeners import Listener, ListenerKind
from chainsocks.config.models import Config
from chainsocks.limits.board import Column
from chainsocks.limits.limiter import open_limiter
from chainsocks.net.keepalive import Keepalive, keep_alive, open_keepalive
from chainsocks.net.listeners import OpenListener, bind_listeners
from chainsocks.net.outgoing import Outgoing
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import Poller, open_poller
from chainsocks.net.redirected import original_destination
from chainsocks.net.stream import SocketStream
from chainsocks.network import reset_on_close
from chainsocks.observe.counters import Counters
from chainsocks.observe.events import Events
from chainsocks.observe.live import LiveSession, LiveSessions
from chainsocks.observe.privacy import shown
from chainsocks.protocol.address import address_of
from chainsocks.protocol.http_proxy import has_begun
from chainsocks.server.accept import accept_connections
from chainsocks.server.admission import Admission, Place
from chainsocks.server.deadlines import Deadlines, open_deadlines
from chainsocks.server.file_limit import current_limit, sessions_that_fit, waiting_that_fit, warm_ways_that_fit
from chainsocks.server.flows import Flows
from chainsocks.server.health_checks import check_members, members_to_check
from chainsocks.server.lane import Lane
from chainsocks.server.network import TrioNetwork
from chainsocks.server.next_requests import NextRequests
from chainsocks.server.questions import Questions
from chainsocks.server.reception import Reception
from chainsocks.server.silent_client import SilentClient
from chainsocks.session.access import Access
from chainsocks.session.begun import Begun
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.own_listeners import OwnListeners
from chainsocks.session.place import Place as SessionPlace
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from chainsocks.shares import client_of
from chainsocks.sockets import keep_urgent

__all__ = ["Server", "open_server"]

log = logging.getLogger("chainsocks.server")

DNS = ListenerKind.DNS  # looked up once: each connection asks for it


@dataclass(slots=True, eq=False)
class _Active:
    """A socket that is accepted from, and how to stop that."""

    opened: OpenListener
    terms: Listener
    """Those of its clients."""
    lane: Lane | None
    """What ordinary direct sessions use."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    turn: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Around what has its datagrams, as its kind says; another kind takes its turn then."""
    closed: trio.Event = field(default_factory=trio.Event)

    @property
    def is_tcp(self) -> bool:
        """Whether its clients have IP addresses."""
        return self.opened.sock.family in (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A connection that waits for a place, with what its session needs."""

    connection: Connection
    client: SocketStream
    lane: Lane | None


class Server:
    """See the module; made by `open_server`."""

    def __init__(
        self,
        service: Service,
        listeners: Iterable[OpenListener],
        poller: Poller | None,
        deadlines: Deadlines,
        keepalive: Keepalive,
        accepting: trio.Nursery,
        sessions: trio.Nursery,
        live: LiveSessions | None = None,
        *,
        takes_flows: bool = True,
    ) -> None:
        self.admission = Admission(
            *_limit_sessions(service.config),
            self._begin_waiting,
            _close,
            most_waiting=waiting_that_fit(current_limit()),
            limiter=service.limiter,
        )
        """Has a place for each session; `change_service` sets how many."""
        self.admission.handshakes = service.config.limits.handshakes
        self.own_listeners = service.own_listeners
        """Where this server listens; each service that it uses has it."""
        self._service = service
        self._reception = Reception()
        self._next_requests = NextRequests()
        self._questions = Questions(self._begin_silent, self._start_questions)
        self._flows = Flows(self._begin_silent, self.own_listeners) if takes_flows else None
        self._poller = poller
        self._deadlines = deadlines
        self._keepalive = keepalive
        self._accepting = accepting
        self._sessions = sessions
        self._live = live
        self._lanes: list[Lane] = []
        self._active: list[_Active] = []
        self._tending = trio.CancelScope()
        for each in listeners:
            self._start(each)
        accepting.start_soon(self._tend_hops)
        accepting.start_soon(self.admission.run)

    @property
    def service(self) -> Service:
        """What new sessions use."""
        return self._service

    @property
    def listeners(self) -> list[OpenListener]:
        """The sockets that connections are accepted from."""
        return [active.opened for active in self._active]

    def change(self, service: Service, listeners: Sequence[OpenListener]) -> None:
        """Have new sessions use `service`, and accept them from `listeners`; see the methods below.

        Raises:
            OSError: as `change_listeners`.
        """
        self.change_listeners(listeners)
        self.change_service(service)

    @property
    def live(self) -> Iterator[LiveSession]:
        """The sessions that run, if they are kept."""
        for lane in self._lanes:
            yield from lane.sessions
        yield from self._live or ()

    def kill(self, session: LiveSession) -> None:
        """End one of `live`; it may have ended by itself."""
        if self._live is not None and session in self._live:
            self._live.kill(session)
        elif session.moment():
            session.kill()

    def change_service(self, service: Service) -> None:
        """Have new sessions use `service`; set places, keepalive, health checks and warm ways by its configuration.

        Sessions that run keep the service that they have. Listeners stay as they are. Names are looked up again.
        """
        service.take_over(self._service)
        if isinstance(service.network, TrioNetwork):
            service.network.resolver.clear()
        self._service = service
        if service.limiter:
            service.limiter.change(service.config.limits)
        self.admission.total, self.admission.limited_by = _limit_sessions(service.config)
        self.admission.handshakes = service.config.limits.handshakes
        self._keepalive.seconds = service.config.server.keepalive
        for opened in self.listeners:
            if not opened.is_udp:
                keep_alive(opened.sock, self._keepalive.seconds)
        self._tending.cancel()

    def change_listeners(self, listeners: Sequence[OpenListener]) -> None:
        """Accept connections from these sockets and from no others. The sessions of the others go on.

        Those that are open already stay open, and their new sessions are on the terms of the new listener. The others
        of `listeners` are bound, and listen from now on.

        *Closing*: the server closes the sockets. Those that are left out have been closed once a task has run.

        Raises:
            OSError: a new one cannot listen. Nothing has changed, and the caller closes the new ones.
        """
        former = {active.opened.sock: active for active in self._active}
        for opened in listeners:
            if opened.sock not in former:
                opened.listen(self._keepalive.seconds)
        self._active = []
        for opened in listeners:
            if active := former.pop(opened.sock, None):
                self._active.append(active)
                self._change_terms(active, opened)
            else:
                self._start(opened)
        for active in former.values():
            active.scope.cancel()

    def _change_terms(self, active: _Active, opened: OpenListener) -> None:
        if opened.listener != active.opened.listener:
            self._note_outgoing(opened)
            if opened.listener.kind is not active.terms.kind:
                active.turn.cancel()
            if active.lane:
                active.lane.close()
            active.lane = self._open_lane(opened.terms)
        active.opened, active.terms = opened, opened.terms

    def _start(self, opened: OpenListener) -> None:
        active = _Active(opened, opened.terms, self._open_lane(opened.terms))
        self._active.append(active)
        self._note_outgoing(opened)
        if active.is_tcp:
            self._own(opened).add(address_of(opened.sock.getsockname()))
        self._accepting.start_soon(self._serve_listener, active)

    async def _serve_listener(self, active: _Active) -> None:
        address = address_of(active.opened.sock.getsockname()) if active.is_tcp else None
        try:
            with active.scope:
                if active.opened.is_udp:
                    await self._serve_datagrams(active)
                else:
                    await self._accept(active)
        finally:
            active.opened.close()
            if active in self._active:
                self._active.remove(active)
            if active.lane:
                active.lane.close()
            if address:
                self._own(active.opened).remove(address)
            active.closed.set()

    async def _serve_datagrams(self, active: _Active) -> None:
        sock = active.opened.sock
        while True:
            with trio.CancelScope() as active.turn:
                if active.terms.kind is DNS:
                    await self._questions.serve_datagrams(sock, lambda: active.terms)
                elif self._flows:
                    await self._flows.serve(sock, lambda: active.terms)
                await trio.sleep_forever()

    def _note_outgoing(self, opened: OpenListener) -> None:
        """Note from now on what this server opens, if nftables could bring it back to a listener."""
        network, kind = self._service.network, opened.listener.kind
        if not kind.is_redirected or opened.find_target is not original_destination:
            return
        if isinstance(network, TrioNetwork) and network.outgoing is None:
            network.outgoing = self.own_listeners.outgoing = Outgoing()

    def _own(self, opened: OpenListener) -> OwnListeners:
        return self.own_listeners.for_datagrams if opened.is_udp else self.own_listeners

    async def _accept(self, active: _Active) -> None:
        sock, poller = active.opened.sock, self._poller
        is_ipv4 = sock.family is socket.AF_INET
        is_tcp = active.is_tcp

        def start_session(connection: socket.socket, peer: Any) -> None:
            host, name = "", "unix"
            if is_tcp:
                host = peer[0]
                name = f"{host}:{peer[1]}" if is_ipv4 else f"[{host}]:{peer[1]}"
            else:
                keep_urgent(connection)  # unix sockets do not inherit it
            client = PolledStream(connection, poller, short_read_is_all=is_tcp) if poller else SocketStream(connection)
            listener = active.terms
            if listener.kind is DNS:
                seconds = self._service.config.timeouts.handshake
                self._questions.take_stream(client, Connection(client, name, host, listener), seconds)
                return
            start = self._receive if listener.proxy_protocol else self._admit
            target = listener.target
            if listener.kind.is_redirected:
                try:
                    target = active.opened.find_target(connection)
                except OSError:
                    connection.close()  # its client is gone
                    return
            start(Connection(client, name, host, listener, None, target), client, active.lane)

        room = None if is_tcp else partial(self.admission.wait_for_room, client_of(""))
        await accept_connections(sock, self._make_room, poller, start_session, room)

    def _open_lane(self, listener: Listener) -> Lane | None:
        if self._poller is None or listener.kind is DNS:
            return None
        lane = Lane(listener, self._poller, self._deadlines, self._keepalive, self._start_session)
        self._sessions.start_soon(self._run_lane, lane)
        return lane

    async def _run_lane(self, lane: Lane) -> None:
        self._lanes.append(lane)
        try:
            await lane.run()
        finally:
            self._lanes.remove(lane)

    def _make_room(self) -> bool:
        return self._next_requests.make_room() or self.admission.make_room() or self._reception.make_room()

    def _receive(self, connection: Connection, client: SocketStream, lane: Lane | None) -> None:
        """Have the header of a load balancer's connection read."""
        if told := self._reception.receive_at_once(connection, client):
            self._admit(told, client, lane)
            return
        self._sessions.start_soon(self._run_reception, connection, client)
        if self._poller:
            self._poller.let_tasks_run()

    async def _run_reception(self, connection: Connection, client: SocketStream) -> None:
        try:
            told = await self._reception.receive(connection, client, self._service)
        except Exception as error:
            log.error("a bug in chainsocks ended a connection: %s: %s", type(error).__name__, shown(error))
            log.debug("where it happened", exc_info=error)
            await client.aclose()
        else:
            if told:
                self._admit(told, client, None)

    def _admit(self, connection: Connection, client: SocketStream, lane: Lane | None) -> None:
        """Give a connection a place and a session, or have it wait for them."""
        account = client_of(connection.host)
        place = self.admission.enter(account, client)
        if place:
            self._begin(place, connection, client, lane)
        else:
            self.admission.wait(account, client, _Waiting(connection, client, lane))

    def _begin_waiting(self, place: Place[_Waiting], waiting: _Waiting) -> None:
        self._begin(place, waiting.connection, waiting.client, waiting.lane)

    def _begin(self, place: Place[_Waiting], connection: Connection, client: SocketStream, lane: Lane | None) -> None:
        """Begin a session, in the lane if that takes it."""
        if not (lane and isinstance(client, PolledStream) and lane.begin(connection, client, self._service, place)):
            if connection.host and not connection.earlier:  # otherwise it has been added before
                self._keepalive.add(client)
            self._start_session(connection, self._service, None, place)

    def _start_session(
        self, connection: Connection, service: Service, begun: Begun | None, place: SessionPlace
    ) -> None:
        """Start the task of a session, or of one that has `begun` in the lane."""
        self._sessions.start_soon(self._run_session, connection, service, begun, place, name=connection.name)
        if self._poller:
            self._poller.let_tasks_run()  # a callback may have started it

    def _begin_silent(self, connection: Connection, client: SilentClient) -> bool:
        """Begin the session of a question, or of a flow; return False if there is no place for it."""
        place = self.admission.enter(client_of(connection.host), client)
        if place is None:
            return False
        self._start_session(connection, self._service, None, place)
        return True

    def _start_questions(self, function: Callable[..., Awaitable[None]], *arguments: object) -> None:
        self._accepting.start_soon(function, *arguments)
        if self._poller:
            self._poller.let_tasks_run()

    async def _run_session(
        self, connection: Connection, service: Service, begun: Begun | None, place: SessionPlace
    ) -> None:
        kept = None
        try:
            kept = await serve_session(connection, service, begun, place, self._live)
        except Exception as error:
            log.error("a bug in chainsocks ended a session: %s: %s", type(error).__name__, shown(error))
            log.debug("where it happened", exc_info=error)
        finally:
            place.leave()
        if kept:
            await self._go_on(kept)

    async def _go_on(self, connection: Connection) -> None:
        """Have the next request of a connection be a session, unless its listener is no longer there."""
        client = connection.client
        is_wanted = any(active.terms == connection.listener for active in self._active)
        if not isinstance(client, SocketStream) or self._accepting.cancel_scope.cancel_called or not is_wanted:
            await client.aclose()
        elif connection.earlier and has_begun(connection.earlier.heard):
            self._admit(connection, client, None)
        else:
            self._accepting.start_soon(self._wait_for_request, connection)

    async def _wait_for_request(self, connection: Connection) -> None:
        kept = await self._next_requests.wait(connection, self._service.config.timeouts.next_request)
        if kept:
            await self._go_on(kept)

    async def _tend_hops(self) -> None:
        """Check members of groups and keep warm ways, as the service has them; start anew when it changes."""
        while True:
            with trio.CancelScope() as self._tending:
                async with trio.open_nursery() as nursery:
                    service = self._service
                    members = members_to_check(service.config.chains.values())
                    nursery.start_soon(check_members, members, service)
                    if warm := service.dialer.warm:
                        nursery.start_soon(warm.run, Access(service.own_listeners).problem, self._files_for_warm_ways)
                    await trio.sleep_forever()

    def _files_for_warm_ways(self) -> float:
        return warm_ways_that_fit(current_limit(), self.admission.taken)


@asynccontextmanager
async def open_server(
    config: Config,
    opened: Sequence[OpenListener] = (),
    events: tuple[Events, ...] = (),
    counters: Counters | None = None,
    live: LiveSessions | None = None,
    others: Column | None = None,
    *,
    takes_flows: bool = True,
) -> AsyncIterator[Server]:
    """Run a server for `config` for as long as the block does, and then until its sessions have ended.

    The listeners are those of `config`, unless `opened` has some; `opened` is closed here. `events` are listeners to
    the events of all sessions, `counters` counts them, and `live` has them while they run. `others` are the other
    workers, for limits, and without `takes_flows` one of them has the flows (`chainsocks.server.flows`). After the
    block there are no new connections; sessions that still run after the `grace` of the configuration are cancelled.

    Raises:
        OSError: an address is not available; ``filename`` says which.
    """
    count = counters.limit_reached if counters else None
    anyio.current_time()  # loads anyio's backend now: the first session may have no file descriptor left for that
    with ExitStack() as unused:
        listeners = opened or bind_listeners(config.server.listen)
        for each in listeners:
            unused.callback(each.close)
        if not opened:
            for each in listeners:
                each.listen(config.server.keepalive)
        async with (
            open_poller() as poller,
            open_deadlines() as deadlines,
            open_keepalive(config.server.keepalive) as keepalive,
            open_limiter(trio.current_time, config.limits, count, others) as limiter,
            trio.open_nursery() as sessions,
        ):
            network = TrioNetwork(poller, deadlines, keepalive)
            service = Service(config, Logins(config.users), network, events, counters, limiter=limiter)
            async with trio.open_nursery() as accepting:
                server = Server(
                    service, listeners, poller, deadlines, keepalive, accepting, sessions, live, takes_flows=takes_flows
                )
                unused.pop_all()
                yield server
                accepting.cancel_scope.cancel()
            sessions.cancel_scope.deadline = trio.current_time() + server.service.config.timeouts.grace


def _limit_sessions(config: Config) -> tuple[int, str]:
    """Return how many sessions there may be at a time, and what limits them, for the log."""
    wanted = config.server.max_sessions
    fit = sessions_that_fit(current_limit(), wanted)
    return (
        fit,
        f"max_sessions ({wanted})" if fit == wanted else f"the number of sessions that files suffice for ({fit})",
    )


def _close(waiting: _Waiting) -> None:
    """Reset a connection that has had no session."""
    reset_on_close(waiting.client)
    waiting.client.socket.close()
