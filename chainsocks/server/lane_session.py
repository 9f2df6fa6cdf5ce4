"""One session in the lane (`chainsocks.server.lane`): callbacks that read the request, dial, reply and relay.

The methods stand in the order of the story. Each of the first ones ends by waiting for the next event, or by handing
the session over to a task.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio
from anyio import BrokenResourceError

from chainsocks.chain.operations import Upstream
from chainsocks.chain.steps import connect_error
from chainsocks.chain.trip import CONNECT, OPEN, RESOLVE, RequestAbandoned, Trip
from chainsocks.errors import DialError, RequestRefused, Step
from chainsocks.errors import Place as PlaceOfStep
from chainsocks.limits.bandwidth import Share
from chainsocks.limits.limiter import Limiter
from chainsocks.net.keepalive import Keepalive
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import END_EVENTS, MORE_EVENTS, READ_AND_WRITE, WRITE_EVENTS, Poller
from chainsocks.network import reset_on_close
from chainsocks.observe.events import SessionEvents
from chainsocks.observe.live import KILLED, Moment
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.observe.phase import Phase
from chainsocks.observe.privacy import shown
from chainsocks.observe.record import Record
from chainsocks.protocol import socks4, socks5_messages
from chainsocks.protocol.address import Address, AddressType, address_of
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.messages import Command, Method, Reply, ReplyCode, Request, Version
from chainsocks.relay.polled_relay import PolledRelay
from chainsocks.relay.throttled import ThrottledRelay
from chainsocks.routing.rules import Caller
from chainsocks.server.deadlines import Deadline, Deadlines
from chainsocks.server.lane_terms import Terms
from chainsocks.session.begun import CLIENT_LEFT, CUT_OFF, Begun, Dialled, describe_error
from chainsocks.session.client_watch import GRACE, has_left
from chainsocks.session.connection import Connection
from chainsocks.session.place import Kept, Place
from chainsocks.session.relay_limits import RelayLimits
from chainsocks.session.routing_decision import RoutingDecision, asks_for_address, route_at_once
from chainsocks.session.service import Service
from chainsocks.sockets import family_of, tcp_socket

__all__ = ["HandOver", "LaneSession", "Shared"]

log = logging.getLogger("chainsocks.server")

MOST = 4096
"""Bytes to read at once before the relay. A client that fills this becomes a task."""

HandOver = Callable[[Connection, Service, Begun, Place], None]
"""Starts the task of a session, with the arguments of `chainsocks.session.session.serve_session`."""

SOCKS4, SOCKS5 = Version.SOCKS4.value, Version.SOCKS5.value
# A global is 30 times as quick as a member of an enum.
VERSION_4, VERSION_5, SUCCEEDED = Version.SOCKS4, Version.SOCKS5, ReplyCode.SUCCEEDED
USERNAME_PASSWORD, DOMAINNAME, ASKED = Method.USERNAME_PASSWORD, AddressType.DOMAINNAME, Command.CONNECT
_CHOICES = {method: bytes((SOCKS5, method)) for method in Method}  # RFC 1928 section 3
_LOGIN_ACCEPTED = b"\x01\x00"  # RFC 1929 section 2


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sessions of a lane use."""

    poller: Poller
    deadlines: Deadlines
    keepalive: Keepalive
    hand_over: HandOver
    left: Callable[[LaneSession], None]
    """Called once for each session: it has ended, or is a task now."""


class _Opening:
    """What a session has until its relay runs; most of its time it is in the relay, and needs none of this."""

    __slots__ = (
        "answered",
        "client_events",
        "connection",
        "decision",
        "dial_began",
        "early",
        "has_left",
        "heard",
        "limits",
        "place",
        "read_message",
        "target",
        "upstream",
        "user",
    )

    target: Address
    dial_began: float
    limits: RelayLimits
    """Those of its relay, once the way is decided on."""

    def __init__(
        self, connection: Connection, place: Place, read_message: Callable[[LaneSession, bytes], bytes]
    ) -> None:
        self.connection = connection
        self.place = place
        self.heard = self.early = b""
        self.answered = self.client_events = 0
        self.user: bytes | None = None
        self.decision: RoutingDecision | None = None
        self.has_left = False
        """Whether the client has finished its side without a byte behind its request."""
        self.upstream: PolledStream | None = None
        self.read_message = read_message
        """What reads the client's next message, and returns the bytes behind it."""


class LaneSession(Deadline):
    """See the module. It owns `client`, and what it opens on its behalf, until it ends or is handed over."""

    __slots__ = (
        "_client",
        "_events",
        "_opening",
        "_place",
        "_record",
        "_relay",
        "_shared",
        "_terms",
    )

    def __init__(
        self, shared: Shared, terms: Terms, connection: Connection, client: PolledStream, place: Place
    ) -> None:
        service = terms.service
        self._shared = shared
        self._terms = terms
        self._client = client
        self._place: Kept = place
        self._record = record = Record(connection.name, began=place.began)
        self._events = SessionEvents(service.events, record) if service.events else None
        self._opening = _Opening(connection, place, LaneSession._read_first)  # not of the session: it would be a circle
        self._relay: PolledRelay | None = None
        super().__init__(shared.deadlines, record.began + terms.timeouts.handshake)
        shared.deadlines.opened()
        if self._events:
            self._events.started()
        client.hand_over(self)

    def on_stream_event(self, stream: PolledStream, events: int) -> None:
        """Go on with the story, until the relay does; for the streams."""
        upstream = self._opening.upstream
        if stream is upstream:
            self._upstream_answered(stream, events)
        elif upstream is None:
            self._client_spoke(events)
        else:
            self._client_spoke_early(events)

    @property
    def record(self) -> Record:
        """What is known of the session. There is none once it has ended, or is a task."""
        return self._record

    @property
    def began(self) -> float:
        """When the session began, on trio's clock."""
        return self._record.began

    @property
    def streams(self) -> Iterable[PolledStream]:
        """Its TCP connections, once both are open; see `chainsocks.net.keepalive`."""
        relay = self._relay
        if relay is None or self.closed:
            return ()
        return relay.client, relay.upstream

    def moment(self) -> Moment | None:
        """Return where the session is; see `chainsocks.observe.live.LiveSession`."""
        if self.closed:
            return None
        if self._relay:
            return Moment(Phase.RELAY, self.deadline, hops=())
        opening = self._opening
        if opening.upstream is None or opening.decision is None:
            return Moment(Phase.REQUEST, self.deadline)
        place = PlaceOfStep(None, opening.decision.destination, CONNECT)
        return Moment(Phase.DIAL, self.deadline, place, ())

    def kill(self) -> None:
        """End the session; see `chainsocks.observe.live.LiveSession`."""
        self._cut_off(KILLED, OutcomeKind.KILLED)

    @property
    def _upstream(self) -> PolledStream | None:
        return self._relay.upstream if self._relay else self._opening.upstream

    # The request.

    def _client_spoke(self, events: int) -> None:
        """Read the client's next messages, each of which has to be whole."""
        client, opening = self._client, self._opening
        opening.client_events |= events
        try:
            try:
                data = client.socket.recv(MOST)
            except BlockingIOError:
                return  # no news
            except OSError as error:
                client.note_broken(error)
                data = b""
            opening.heard = opening.heard + data if opening.heard else data
            if not data or events & MORE_EVENTS or len(data) == MOST:
                self._hand_over()
                return
            opening.client_events = 0  # a short read: there is nothing left of them
            while data:
                data = opening.read_message(self, data)
        except ProtocolError:
            self._hand_over()
        except Exception as error:  # noqa: BLE001  (the poller serves other sessions, too)
            self._fail(error)
        if not (client.short_read_is_all or self.closed or opening.upstream):
            self._client_spoke(0)  # a unix socket may hold another message

    def _read_first(self, data: bytes) -> bytes:
        """Read the first message; return the bytes behind it. SOCKS4's is the request."""
        if data[0] == SOCKS4:
            decoded = socks4.decode_request(data)
            if decoded is None:
                return self._hand_over()
            request, end = decoded
            return self._route(request, data[end:])
        methods = socks5_messages.decode_methods(data)
        if methods is None:
            return self._hand_over()
        offered, end = methods
        for method in self._terms.methods:
            if method in offered:
                break
        else:
            return self._hand_over()
        by_password = method is USERNAME_PASSWORD
        self._opening.read_message = LaneSession._read_login if by_password else LaneSession._read_request
        return self._answer(_CHOICES[method], data[end:])

    def _read_login(self, data: bytes) -> bytes:
        decoded = socks5_messages.decode_login(data)
        if decoded is None:
            return self._hand_over()
        login, end = decoded
        logins = self._terms.service.logins
        if not logins.is_known(login):
            return self._hand_over()
        if logins.required:
            self._opening.user = login.username
        self._opening.read_message = LaneSession._read_request
        return self._answer(_LOGIN_ACCEPTED, data[end:])

    def _answer(self, answer: bytes, rest: bytes) -> bytes:
        """Send an answer; return `rest`."""
        try:
            sent = self._client.send_nowait(answer)
        except BrokenResourceError:
            sent = 0  # the task will find that out
        self._opening.answered += sent
        return rest if sent == len(answer) else self._hand_over()

    def _read_request(self, data: bytes) -> bytes:
        decoded = socks5_messages.decode_request(data)
        if decoded is None:
            return self._hand_over()
        command, destination, end = decoded
        return self._route(Request(VERSION_5, command, destination), data[end:])

    # The way.

    def _route(self, request: Request, early: bytes) -> bytes:
        """Decide, and dial if that takes no more than a connect; `early` is the first data upstream."""
        terms, record, opening = self._terms, self._record, self._opening
        if request.command is not ASKED or request.destination.is_link_local:
            return self._hand_over()
        record.request, opening.early = request, early
        caller = Caller(opening.connection.host, opening.user)
        decision = route_at_once(request, caller, terms.policy, terms.listener.names_only)
        if decision is None or decision.refusal:
            return self._hand_over()
        limits = terms.allow(decision)
        if limits is None:
            return self._hand_over()
        opening.limits = limits
        if decision.warns and asks_for_address(request):
            return self._hand_over()
        address = self._address(decision)
        if address is None:
            return self._hand_over()
        access = terms.access
        if decision.rule and not access.private:
            access = access._replace(rule=decision.rule)
        if access.problem(decision.destination, address):
            return self._hand_over()
        if terms.limits and self._is_refused(terms.limits, caller):
            return self._hand_over()
        if not opening.place.keep(caller.account):
            return self._hand_over()
        if opening.user is not None:
            record.user = opening.user.decode("utf-8", "surrogateescape")
        record.rule, record.chain = decision.matched, decision.chain
        self._dial(decision, address)
        return b""

    def _is_refused(self, limits: Limiter, caller: Caller) -> bool:
        listener = self._terms.listener.address
        return limits.refusal(self._opening.place, caller.host, caller.account, listener) is not None

    def _address(self, decision: RoutingDecision) -> Address | None:
        """Return the only address to connect to; None where it is not known, or there is a choice."""
        destination = decision.destination
        if destination.type is not DOMAINNAME:
            return destination
        addresses = decision.addresses
        found = self._terms.known(destination) if addresses is None else addresses
        return found[0] if found and len(found) == 1 else None

    def _dial(self, decision: RoutingDecision, address: Address) -> None:
        shared, terms, opening = self._shared, self._terms, self._opening
        try:
            sock = tcp_socket(family_of(address))
        except OSError:
            self._hand_over()  # the task will say why
            return
        opening.decision, opening.target = decision, address
        opening.upstream = upstream = PolledStream(sock, shared.poller, short_read_is_all=True, may_delay=True)
        opening.dial_began = now = shared.deadlines.now()
        if self._events and address is not decision.destination:
            self._report(RESOLVE, now + terms.timeouts.resolve)
        self.deadline = now + terms.dial_limit(decision)
        self._report(CONNECT, self.deadline)
        error = sock.connect_ex(address.sockaddr)
        if terms.outgoing:
            terms.outgoing.note(sock.getsockname(), address)
        if error and error != errno.EINPROGRESS:
            self._dial_failed(OSError(error, os.strerror(error)))
            return
        upstream.hand_over(self, READ_AND_WRITE)

    def _client_spoke_early(self, events: int) -> None:
        """Watch the client during the dial, as `chainsocks.session.client_watch` does."""
        opening = self._opening
        opening.client_events |= events
        if not events & END_EVENTS:
            return
        try:
            if not has_left(self._client, events, opening.early):
                return
            if self._client.was_reset:
                self._abort()
            else:
                opening.has_left = True
                self.deadline = min(self.deadline, trio.current_time() + GRACE)
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _upstream_answered(self, upstream: PolledStream, events: int) -> None:
        """Go on when the connect has succeeded or failed."""
        if not events & WRITE_EVENTS:
            return  # no news
        try:
            error = upstream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if events & END_EVENTS else 0
            try:
                if error:
                    raise OSError(error, os.strerror(error))
                name = upstream.note_connected(self._opening.target.sockaddr)
            except OSError as failure:
                self._dial_failed(failure)
                return
            upstream.note_events(events)
            self._send_success(upstream, address_of(name), events)
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _dial_failed(self, error: OSError) -> None:
        """Leave the answer to the task."""
        trip = self._trip()
        if self._opening.target is not trip.destination:
            self._terms.network.forget(trip.destination)
        self._close_upstream()
        self._hand_over(connect_error(trip, None, error))

    def _trip(self) -> Trip:
        """Return the trip that a task would have made, where it has ended."""
        opening, terms = self._opening, self._terms
        decision, began = opening.decision, opening.dial_began
        if decision is None or decision.dialled is None or decision.dialled.route is None:
            raise RuntimeError("nothing has been dialled")
        destination = decision.destination
        trip = Trip(decision.dialled.route, destination, terms.timeouts, terms.network, began=began)
        trip.allow(terms.timeouts.connect, destination, began)
        trip.enter(None, CONNECT)
        return trip

    # The reply and the relay.

    def _send_success(self, upstream: PolledStream, bound: Address, events: int) -> None:
        """Tell the client that its way is open, and relay. `events` are those of `upstream`."""
        record, client, opening = self._record, self._client, self._opening
        if (counters := self._terms.service.counters) and record.chain:
            counters.dials[record.chain.name].add(self._shared.deadlines.now() - opening.dial_began)
        record.reply = SUCCEEDED
        upstream.local_name = None  # it takes memory, and has been told
        self._report(OPEN, self.deadline)
        request = record.request
        encode = socks4.encode_reply if request and request.version is VERSION_4 else socks5_messages.encode_reply
        answer = encode(Reply(SUCCEEDED, bound))
        try:
            sent = client.send_nowait(answer)
        except BrokenResourceError:
            self._abort()
            return
        if sent < len(answer):
            opening.answered += sent
            upstream.take_back(events)
            self._shared.keepalive.add(upstream)
            self._hand_over(Upstream(upstream, bound, b""))
            return
        client.note_events(opening.client_events)
        client.dry &= client.short_read_is_all
        idle, half_close = opening.limits
        share = self._open_share(self._terms.limits) if self._terms.limits else None
        if share:
            relay: PolledRelay = ThrottledRelay(client, upstream, record, share, idle=idle, half_close=half_close)
        else:
            relay = PolledRelay(client, upstream, record, idle=idle, half_close=half_close)
        self._relay = relay
        relay.closes_at_once = True
        self._place = opening.place.settle()
        del self._opening
        relay.start(self, opening.early)

    def _open_share(self, limits: Limiter) -> Share | None:
        """Open the client's share of the bandwidth; None where that is not limited."""
        caller = Caller(self._opening.connection.host, self._opening.user)
        return limits.share(caller.host, caller.account, self._terms.listener.address)

    def relay_over(self) -> None:
        """End with the relay, which calls this."""
        relay = self._relay
        if relay is None:
            return
        if error := relay.stop():
            self._fail(error)
        else:
            outcome = relay.outcome
            self._end(outcome, outcome.kind)

    # The end.

    def expire(self) -> None:
        """End the step whose time is over; a task answers where an answer is owed."""
        try:
            if self._relay:
                self.relay_over()
            elif upstream := self._opening.upstream:
                self._dial_expired(upstream)
            else:
                self._hand_over()
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _dial_expired(self, upstream: PolledStream) -> None:
        failure: DialError | RequestAbandoned
        if self._opening.has_left:
            reset_on_close(upstream)
            failure = RequestAbandoned()
        else:
            failure = self._trip().overdue()
        self._close_upstream()
        self._hand_over(failure)

    def cut_off(self) -> None:
        """End the session because the server stops."""
        self._cut_off(CUT_OFF, OutcomeKind.CUT_OFF)

    def _cut_off(self, outcome: str, kind: OutcomeKind) -> None:
        if self._relay:
            self._relay.stop()
        else:
            reset_on_close(self._client)
        self._end(outcome, kind)

    def _abort(self) -> None:
        """End a session whose client has left before its reply."""
        if upstream := self._upstream:
            reset_on_close(upstream)
        self._end(CLIENT_LEFT, OutcomeKind.CLIENT_LEFT)

    def _fail(self, error: Exception) -> None:
        """End the session for an error at this end; a task answers where an answer is owed."""
        problem, is_local = describe_error(error)
        if not is_local:
            log.error("a bug in chainsocks ended a session: %s: %s", type(error).__name__, shown(error))
        if self.closed:
            return
        record = self._record
        if record.request and record.reply is None:
            self._close_upstream()
            self._hand_over(RequestRefused(problem, ReplyCode.GENERAL_FAILURE))
            return
        for stream in (self._client, self._upstream):
            if stream:
                reset_on_close(stream)
        self._end(problem, OutcomeKind.LOCAL_ERROR if is_local else OutcomeKind.BUG)

    def _end(self, outcome: str, kind: OutcomeKind) -> None:
        record, counters = self._record, self._terms.service.counters
        record.outcome, record.kind = outcome, kind
        self._leave()
        self._client.close_soon()
        self._close_upstream()
        record.write(self._shared.deadlines.now())
        if counters:
            counters.session_ended(record)
        if self._events:
            self._events.ended()
        self._place.leave()
        self._let_go()

    def _hand_over(self, dialled: Dialled = None) -> bytes:
        """Have a task go on; return nothing, which is what is left to read here."""
        self._leave()
        opening = self._opening
        self._client.take_back(opening.client_events)
        if opening.connection.host:
            self._shared.keepalive.add(self._client)
        begun = Begun(self._record, self._events, opening.heard, opening.answered, dialled)
        self._shared.hand_over(opening.connection, self._terms.service, begun, opening.place)
        self._let_go()
        return b""

    def _leave(self) -> None:
        self.closed = True
        self._shared.deadlines.closed()
        self._shared.left(self)

    def _let_go(self) -> None:
        """Drop all that a session holds; the heap of the deadlines may keep this object for a while."""
        del self._client, self._record, self._place, self._terms
        if not self._relay:
            del self._opening
        self._relay = self._events = None

    def _close_upstream(self) -> None:
        if upstream := self._upstream:
            upstream.close_soon()

    def _report(self, step: Step, deadline: float) -> None:
        if self._events and (decision := self._opening.decision):
            self._events.step(PlaceOfStep(None, decision.destination, step), deadline)
