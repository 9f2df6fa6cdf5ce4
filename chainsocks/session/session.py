"""One accepted connection, start to finish: read the request, route it, dial, reply, relay.

::

    accept ─ handshake ─ request ─ rules ─ dial ─ reply ─ relay ─ close ─ one line in the log
                                        ├─ bind ─ reply ─ wait ─ second reply ─┤   (`chainsocks.chain.bind`)
                                        ├─ associate ─ reply ─ relay datagrams ┤   (`chainsocks.session.associate`)
                                        └─ resolve ─ reply ────────────────────┘   (`chainsocks.chain.resolve`,
                                                                                    `chainsocks.chain.dns_answer`)

1. Every step has its deadline: `handshake` until the request is complete, then those of the dial, `reply` for an
   answer, and the relay's. One `Limit` serves them all, moved for each; a refusal has scopes of its own, and so has
   each attempt where a chain leaves a choice (`chainsocks.chain.attempts`).
2. The reply is sent when the last hop has said so, and is true.
3. What the client sends behind its request is the first data upstream; what follows the last hop's reply is the first
   data down.
4. A stream that did not come to its regular end is reset, so that its reader cannot take a part for the whole.
5. Whatever the network does is an outcome in the log line, not an exception.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

import trio
from anyio import BrokenResourceError
from anyio.abc import SocketAttribute

from chainsocks.chain.associate import Association, associate
from chainsocks.chain.attempts import Operation
from chainsocks.chain.bind import bind
from chainsocks.chain.dns_answer import answer_question
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import Upstream, close_upstream, open_connection
from chainsocks.chain.resolve import resolve
from chainsocks.chain.trip import RequestAbandoned
from chainsocks.config.chains import Chain
from chainsocks.errors import DialError, ProtocolError, RequestRefused
from chainsocks.gss.stream import CapsuleError, EncapsulatedStream
from chainsocks.limits.bandwidth import Share
from chainsocks.net.polled import PolledStream
from chainsocks.net.stream import SocketStream
from chainsocks.net.tls import TlsStream
from chainsocks.network import reset_on_close
from chainsocks.observe.events import SessionEvents
from chainsocks.observe.live import KILLED, LiveSessions, Moment
from chainsocks.observe.outcomes import Failure, OutcomeKind
from chainsocks.observe.phase import Phase
from chainsocks.observe.privacy import private, shown
from chainsocks.observe.record import Record
from chainsocks.observe.tally import Tally
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType, address_of, printable, with_scope
from chainsocks.protocol.dns_handshake import QuestionHandshake
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.http_exchange import HttpExchange
from chainsocks.protocol.http_proxy import HttpServerHandshake
from chainsocks.protocol.messages import Command, Reply, ReplyCode, Request, Version
from chainsocks.protocol.proxy_protocol import LOCAL
from chainsocks.protocol.unspoken import UnspokenHandshake
from chainsocks.relay.datagrams import DatagramRelay
from chainsocks.relay.polled_relay import PolledRelay, relay_between
from chainsocks.relay.relay import Relay
from chainsocks.relay.throttled import throttled_relay_between
from chainsocks.routing.rules import Caller
from chainsocks.session.access import Access, datagram_access
from chainsocks.session.associate import open_datagram_relay
from chainsocks.session.begun import CLIENT_LEFT, CUT_OFF, Begun, describe_error
from chainsocks.session.client_watch import ClientWatch
from chainsocks.session.connection import Connection, arrival, proxy_header
from chainsocks.session.forwarding import Forwarding
from chainsocks.session.lingering_close import linger_and_close
from chainsocks.session.outcome import ClientLeft, SessionOver, kind_of_error, kind_of_refusal, relay_over
from chainsocks.session.place import Place, wait_for_turn
from chainsocks.session.relay_limits import RelayLimits, relay_limits
from chainsocks.session.request import RequestReader
from chainsocks.session.routing_decision import (
    RoutingDecision,
    asks_for_address,
    datagram_filter,
    route_request,
    warn_of_address,
)
from chainsocks.session.service import Service

__all__ = ["serve_session"]

SUCCEEDED = ReplyCode.SUCCEEDED  # looked up once

LEAVE_OUT = "its rules have to leave out what this server sends (see the manual, redirect)"

ResultT = TypeVar("ResultT")


async def serve_session(
    connection: Connection,
    service: Service,
    begun: Begun | None = None,
    place: Place | None = None,
    live: LiveSessions | None = None,
) -> Connection | None:
    """Serve one connection, or go on with one that has `begun`. It may have to give up its `place`.

    While it runs, it is one of `live`.

    Return the connection if its client, of plain HTTP, may send another request on it: that is another session.

    *Closing*: the client, unless it is returned, and whatever is opened on its behalf, is closed before this returns.
    """
    client, name = connection.client, connection.name
    if begun is None:
        record = Record(name, began=place.began) if place else Record(name)
        events = SessionEvents(service.events, record) if service.events else None
        if events:
            events.started()
        begun = Begun(record, events)
    record, events = begun.record, begun.events
    record.mark_debug_lines()
    session = _Session(connection, service, begun, place)
    if live is not None:
        live.add(session)
    try:
        await session.run()
    except* trio.Cancelled:  # a nursery on the way up makes a group of it
        record.outcome, record.kind = CUT_OFF, OutcomeKind.CUT_OFF
        if record.reply is None:  # otherwise the relay has done so where it had to
            reset_on_close(client)
        raise
    finally:
        if live is not None and live.remove(session):
            record.outcome, record.kind = KILLED, OutcomeKind.KILLED
            session.next_connection = None
        record.write(service.network.now())
        if service.counters:
            service.counters.session_ended(record)
        if events:
            events.ended()
        if session.next_connection is None:
            await client.aclose()
    return session.next_connection


class _Session:
    """A client and its request. The methods stand in the order of the story."""

    __slots__ = (
        "_account",
        "_dialled",
        "_host",
        "_limit",
        "_listener",
        "_on_step",
        "_reader",
        "_record",
        "_remark",
        "_service",
        "_timeouts",
        "_told",
        "_watch",
        "next_connection",
    )

    def __init__(self, connection: Connection, service: Service, begun: Begun, place: Place | None) -> None:
        host, listener = connection.host, connection.listener
        self.next_connection: Connection | None = None
        """The connection, once this session has ended and another one may use it."""
        self._reader = RequestReader(connection, service, begun.heard, begun.answered, place)
        self._dialled = begun.dialled
        self._host = self._account = host
        self._listener = listener
        self._told = connection.told
        self._remark = ""
        self._service = service
        self._timeouts = service.config.timeouts
        self._record = begun.record
        self._on_step = begun.events.step if begun.events else None
        self._limit = Limit(service.network, begun.record.began + self._timeouts.handshake)
        self._limit.expired = self._no_request

    @property
    def record(self) -> Record:
        """What is known of the session."""
        return self._record

    def moment(self) -> Moment:
        """Return where the session is; see `chainsocks.observe.live.LiveSession`."""
        record, deadline = self._record, self._limit.scope.deadline
        watch: ClientWatch | None = getattr(self, "_watch", None)  # it is there with the request, read here or not
        if record.request is None or watch is None:
            return Moment(Phase.REQUEST, deadline)
        route = record.route or (record.chain and record.chain.route)
        hops = route.hops if route else None
        trip = watch.abandoned.latest
        if trip is None:
            is_relayed = record.reply == SUCCEEDED
            phase = Phase.RELAY if is_relayed else Phase.ROUTE if record.reply is None else Phase.REPLY
            return Moment(phase, deadline, hops=hops)
        if record.reply is None or (record.reply == SUCCEEDED and trip.step is State.SECOND_REPLY):
            return Moment(Phase.DIAL, trip.deadline, trip.place, trip.route.hops)
        return Moment(Phase.REPLY, deadline, hops=hops)

    def kill(self) -> None:
        """End the session; see `chainsocks.observe.live.LiveSession`."""
        client = self._reader.client
        reset_on_close(client)
        self._limit.expired = lambda: SessionOver(KILLED, OutcomeKind.KILLED)
        self._limit.scope.cancel()
        if self._record.reply and isinstance(client, SocketStream):  # refused, and out of that scope
            with suppress(OSError):
                client.break_off()

    async def run(self) -> None:
        """Serve the client, and close its connection in a way that it understands."""
        record = self._record
        try:
            with self._limit:
                await self._serve()
        except SessionOver as over:
            record.outcome, record.kind = str(over), over.kind
        except ProtocolError as error:
            record.outcome, record.kind = self._reader.explain(error), kind_of_error(error)
            await self._reader.close(self._timeouts.reply)
        except RequestAbandoned:
            await self._abandon()
        except (RequestRefused, DialError) as error:
            await self._refuse(error)
        except Exception as error:
            if not await self._fail(error):
                raise

    async def _serve(self) -> None:
        """Read the request, route it, and do what it asks for.

        Raises:
            SessionOver: the session ends, and the client is owed nothing.
            ProtocolError: the client broke the protocol or may not come in; what it is owed has been sent.
            RequestRefused, DialError: it is owed a refusal.
            RequestAbandoned: it has left.
        """
        handshake = await self._read_request()
        self._watch = ClientWatch(self._reader.client, handshake, self._service.network)
        request = self._record.request = self._on_its_link(handshake.request)
        self._limit.clear()  # the request is in time; each step from here on has a limit of its own
        self._record.user, caller = await self._reader.identify(request)
        self._account = caller.account
        self._check_limits()
        if (place := self._reader.place) and not place.keep(self._account):
            await wait_for_turn(place, self._reader.client, handshake, self._timeouts.handshake)
        decision = await self._route(request, caller)
        match request.command:
            case Command.CONNECT:
                await self._connect(handshake, decision)
            case Command.BIND:
                await self._bind(handshake, decision)
            case Command.UDP_ASSOCIATE:
                await self._associate(handshake, decision, caller)
            case Command.RESOLVE | Command.RESOLVE_PTR:
                if isinstance(handshake, QuestionHandshake):
                    await self._answer(handshake, decision)
                else:
                    await self._resolve(handshake, decision)

    def _check_limits(self) -> None:
        """Count the session, if its client may have it.

        Raises:
            LimitReached: it may not.
        """
        limits, place = self._service.limits, self._reader.place
        if limits and place:
            refusal = limits.refusal(place, self._host, self._account, self._listener.address)
            if refusal:
                limits.count(refusal.limit)
                raise refusal

    async def _read_request(self) -> ServerHandshake:
        try:
            return await self._reader.read()
        except BrokenResourceError as error:
            problem = str(error) if isinstance(error, CapsuleError) else "it reset the connection"
            raise SessionOver(self._reader.explain(problem), OutcomeKind.NO_REQUEST) from None

    def _on_its_link(self, request: Request) -> Request:
        """Return a request whose link-local destination is on the link that the client came in by, if it did so.

        The link of a load balancer is not that of its client.
        """
        if request.destination.is_link_local and not self._told:
            name = self._reader.client.extra(SocketAttribute.remote_address, None)
            scope = address_of(name).scope if isinstance(name, tuple) else 0
            return request._replace(destination=with_scope(request.destination, scope))
        return request

    async def _route(self, request: Request, caller: Caller) -> RoutingDecision:
        """Decide which chain the request goes through."""
        service, record = self._service, self._record
        listener = self._listener
        if request.version is Version.REDIRECTED or self._reader.connection.datagrams:
            self._check_loop(request)
        policy = service.policy_of(listener)
        decision = await route_request(request, caller, policy, service.network, listener.names_only)
        record.rule, record.chain = decision.matched, decision.chain
        if decision.refusal:
            raise decision.refusal
        if decision.warns and asks_for_address(request):
            warn_of_address(record.who, request.destination)
        if decision.dialled and decision.dialled.needs_arrival:
            source = arrival(self._reader.client, self._told)
            decision = decision._replace(dialled=decision.dialled.leaving_from(source))
        return decision

    def _check_loop(self, request: Request) -> None:
        """Check that what nftables has handed over, or what a tunnel takes, does not lead back to this server.

        Raises:
            RequestRefused: it does.
        """
        own, connection, problem = self._service.own_listeners, self._reader.connection, ""
        if connection.datagrams:
            if own.take_datagrams_at(request.destination):
                problem = "this server listens there: the datagrams would lead back to it"
        elif own.are_at(request.destination):
            problem = "this connection was not redirected: this server listens there, and it would lead back to it"
        elif own.outgoing:
            source = connection.client.extra(SocketAttribute.remote_address, None)
            if isinstance(source, tuple) and own.made(address_of(source), request.destination):
                problem = f"this server has made this connection, and nftables has brought it back: {LEAVE_OUT}"
        if problem:
            raise RequestRefused(problem, ReplyCode.NOT_ALLOWED_BY_RULESET)

    async def _dial(
        self,
        decision: RoutingDecision,
        operation: Operation[ResultT],
        destination: Address | None = None,
        close: Callable[[ResultT], Awaitable[None]] | None = None,
    ) -> ResultT:
        """Run an operation through the decision's chain."""
        destination = decision.destination if destination is None else destination
        chain = _chain_of(decision)
        key = b"" if chain.route else self._host.encode() + b"\0" + decision.destination.packed
        watch, access = self._watch, Access.of(self._service, self._listener, decision.rule)
        header = proxy_header(self._reader.client, self._told) if chain.send_proxy else LOCAL
        counters = self._service.counters
        began = counters.now() if counters else 0
        trip, result = await watch.during(
            self._service.dialer.run(
                chain,
                operation,
                destination,
                key=key,
                close=close,
                limit=self._limit,
                known=decision.known,
                guard=access.problem,
                on_step=self._on_step,
                abandoned=watch.abandoned,
                client=self._account,
                proxy_header=header,
            )
        )
        if counters:
            counters.dials[chain.name].add(counters.now() - began)
        self._record.warm = trip.is_warm
        if not chain.route:
            self._record.route = trip.route
        return result

    async def _connect(self, handshake: ServerHandshake, decision: RoutingDecision) -> None:
        """Dial, reply, relay."""
        if isinstance(self._dialled, Exception):
            raise self._dialled
        upstream = self._dialled
        if upstream is None:
            upstream = await self._dial(decision, open_connection, close=close_upstream)
        if isinstance(handshake, HttpServerHandshake) and handshake.exchange:
            await self._forward(handshake, handshake.exchange, decision, upstream)
        else:
            await self._reply_and_relay(handshake, upstream, relay_limits(decision, self._timeouts))

    async def _forward(
        self, handshake: HttpServerHandshake, exchange: HttpExchange, decision: RoutingDecision, upstream: Upstream
    ) -> None:
        """Pass a plain HTTP request on, and its response back; `upstream` is closed at the end."""
        forwarding = Forwarding(
            self._reader.client,
            upstream,
            handshake,
            exchange,
            decision.destination,
            self._record,
            self._open_share(),
            relay_limits(decision, self._timeouts),
            self._service.config.server.via,
            self._service.network.now,
        )
        self._record.reply = SUCCEEDED
        self._enter(forwarding.relay)
        self._limit.expired = forwarding.expired
        try:
            await forwarding.run(self._limit.scope)
        except ProtocolError:
            self._record.reply = None
            raise
        finally:
            await upstream.stream.aclose()
        self._limit.clear()
        self._note_end(forwarding.relay, upstream)
        if problem := forwarding.problem:
            self._record.outcome += f": {shown(problem)}"
        elif exchange.keeps_client:
            self.next_connection = self._reader.next_connection(exchange.trailing_data)
        elif exchange.has_response:
            await linger_and_close(self._reader.client, self._timeouts.reply)

    async def _bind(self, handshake: ServerHandshake, decision: RoutingDecision) -> None:
        """Have a port opened, reply, wait for the peer, reply again, relay."""
        binding = await self._dial(decision, partial(bind, advertised=self._service.config.server.bind_address))
        try:
            _check_bound(handshake.request.version, binding.address)
            await self._send_success(handshake, binding.address)
            upstream = await self._watch.during(binding.accept(self._limit), grace=0)
        finally:
            self._remark = binding.trip.remark
            await binding.aclose()
        await self._reply_and_relay(handshake, upstream, relay_limits(decision, self._timeouts))

    async def _associate(self, handshake: ServerHandshake, decision: RoutingDecision, caller: Caller) -> None:
        """Open associations at all hops, reply, and relay datagrams."""
        if isinstance(self._reader.client, EncapsulatedStream):
            what = "datagrams would not have the protection that was agreed on by GSSAPI"
            raise RequestRefused(what, ReplyCode.COMMAND_NOT_SUPPORTED)
        if self._listener.tls:
            what = "datagrams would go in the clear beside the TLS of this listener"
            raise RequestRefused(what, ReplyCode.COMMAND_NOT_SUPPORTED)
        service, request, tally = self._service, handshake.request, Tally(self._record)
        passes = datagram_filter(service.policy_of(self._listener).router, request, caller, decision, self._record.who)

        async def open_associations() -> Association:
            return await self._dial(decision, associate, UNSPECIFIED)

        counted = service.counters.association(tally) if service.counters else nullcontext()
        async with open_datagram_relay(
            self._reader.client,
            request,
            _chain_of(decision),
            service,
            self._account,
            open_associations,
            tally,
            passes,
            datagram_access(service, self._listener, request, caller),
            self._told,
            self._open_share,
            self._reader.connection.datagrams,
        ) as (relay, bound):
            await self._send_success(handshake, bound)
            self._enter(relay)
            with counted:
                await relay.run(self._limit.scope)
            self._record.outcome, self._record.kind = relay.outcome, relay.kind

    async def _resolve(self, handshake: ServerHandshake, decision: RoutingDecision) -> None:
        """Look up a name, or the name of an address, and reply with it: that is all."""
        request = handshake.request
        answer = await self._dial(decision, partial(resolve, command=request.command))
        _check_bound(request.version, answer)
        await self._send_success(handshake, answer)
        self._limit.clear()
        answered = private(printable(answer.host))
        self._record.outcome, self._record.kind = f"answered {answered}", OutcomeKind.ANSWERED
        await linger_and_close(self._reader.client, self._timeouts.reply)

    async def _answer(self, handshake: QuestionHandshake, decision: RoutingDecision) -> None:
        """Answer a question of DNS: that is all."""
        record, query = self._record, handshake.query
        handshake.answer = await self._dial(decision, partial(answer_question, query=query))
        await self._send_success(handshake, UNSPECIFIED)
        record.up, record.down = len(query.question), len(handshake.answer)
        record.outcome, record.kind = f"answered {query.describe(handshake.answer)}", OutcomeKind.ANSWERED

    async def _reply_and_relay(self, handshake: ServerHandshake, upstream: Upstream, limits: RelayLimits) -> None:
        """Report success and relay; `upstream` is closed at the end."""
        try:
            await self._send_success(handshake, upstream.bound)
            relay = self._relay_with(upstream, limits)
            relay.closes_at_once = True
            self._enter(relay)
            # Each call in between would take memory for as long as the relay runs.
            await relay.run(self._limit.scope, handshake.trailing_data, upstream.trailing_data)
            self._note_end(relay, upstream)
        except ClientLeft:
            reset_on_close(upstream.stream)
            raise
        finally:
            await upstream.stream.aclose()

    def _note_end(self, relay: Relay[Any], upstream: Upstream) -> None:
        """Note how a relay has ended."""
        outcome = relay.outcome
        self._record.outcome, self._record.kind = outcome, outcome.kind
        if isinstance(relay, PolledRelay):
            return  # between sockets
        for stream in (self._reader.client, upstream.stream):
            if isinstance(stream, EncapsulatedStream | TlsStream) and stream.problem:
                self._record.outcome += f": {stream.problem}"

    def _relay_with(self, upstream: Upstream, limits: RelayLimits) -> Relay[Any]:
        """Return the relay with an upstream."""
        client, stream, record, share = self._reader.client, upstream.stream, self._record, self._open_share()
        idle, half_close = limits
        if share:
            return throttled_relay_between(client, stream, record, share, idle=idle, half_close=half_close)
        return relay_between(client, stream, record, idle=idle, half_close=half_close)

    def _open_share(self) -> Share | None:
        """Open the client's share of the bandwidth; None where that is not limited."""
        limits = self._service.limits
        return limits.share(self._host, self._account, self._listener.address) if limits else None

    def _enter(self, relay: Relay[Any] | DatagramRelay) -> None:
        """Note that the session ends with `relay`, which is run next."""
        self._limit.expired = lambda: relay_over(relay)
        self._watch.abandoned.let_go()

    async def _send_success(self, handshake: ServerHandshake, bound: Address) -> None:
        """Tell the client that its way is open.

        Raises:
            SessionOver: the client has left.
        """
        client, limit = self._reader.client, self._limit
        self._record.reply = SUCCEEDED
        if self._watch.abandoned.declared and self._service.network.now() >= limit.scope.deadline:
            raise ClientLeft  # just as its way opened
        limit.expired = self._reply_not_taken
        handshake.send_reply(Reply(SUCCEEDED, bound))
        answer = self._reader.answer(handshake)
        try:
            sent = client.send_nowait(answer) if isinstance(client, PolledStream) else 0
            if sent < len(answer):  # hardly ever: the usual reply needs no deadline
                limit.scope.deadline = self._service.network.now() + self._timeouts.reply
                await client.send(answer[sent:])
        except BrokenResourceError:
            raise ClientLeft from None

    async def _refuse(self, refusal: RequestRefused | DialError) -> None:
        """Tell the client that its way is not open, if it is still there."""
        record, handshake, seconds = self._record, self._reader.handshake, self._timeouts.reply
        record.outcome, record.kind = shown(refusal), kind_of_refusal(refusal)
        if isinstance(refusal, DialError):
            record.failure = Failure.of(refusal)
        record.reply = refusal.reply_code
        if self._service.counters and isinstance(refusal, DialError):
            self._service.counters.dials_failed([refusal, *refusal.earlier])
        if handshake is None:
            return
        if isinstance(handshake, UnspokenHandshake):
            reset_on_close(self._reader.client)  # an end would look like an empty answer of the destination
            return
        handshake.send_reply(Reply(refusal.reply_code, problem=str(refusal)))
        with trio.move_on_after(seconds) as scope:
            try:
                await self._reader.send_answer(handshake)
            except BrokenResourceError:
                record.outcome, record.kind = CLIENT_LEFT, OutcomeKind.CLIENT_LEFT
                return
        if scope.cancelled_caught:
            record.outcome, record.kind = str(self._reply_not_taken()), OutcomeKind.CLIENT_LEFT
            return
        await linger_and_close(self._reader.client, seconds)

    async def _fail(self, error: BaseException) -> bool:
        """End a session for an error at this end, in a way that its client can tell; return False for a bug."""
        problem, is_local = describe_error(error)
        if self._record.request and self._record.reply is None:
            await self._refuse(RequestRefused(problem, ReplyCode.GENERAL_FAILURE))
        else:
            self._record.outcome = problem
            reset_on_close(self._reader.client)
        self._record.kind = OutcomeKind.LOCAL_ERROR if is_local else OutcomeKind.BUG
        return is_local

    async def _abandon(self) -> None:
        """End a request whose client has left; one that has only finished its side can still read the reply."""
        if self._record.reply is not None:
            self._record.outcome = f"the client left before its peer came{private(self._remark, '')}"
        elif self._watch.was_reset:
            self._record.outcome = str(ClientLeft())
        else:
            problem = "the client finished its side, and may have left; its dial had no more time"
            await self._refuse(RequestRefused(problem, ReplyCode.TTL_EXPIRED))
        self._record.kind = OutcomeKind.CLIENT_LEFT

    def _no_request(self) -> Exception:
        late = f"(within {self._timeouts.handshake:g} s)"
        unchecked = self._reader.refuse_login(f"not checked, others were before it {late}")
        return unchecked or SessionOver(self._reader.explain(f"no complete request {late}"), OutcomeKind.NO_REQUEST)

    def _reply_not_taken(self) -> SessionOver:
        problem = f"client, reply: not taken (within {self._timeouts.reply:g} s)"
        return SessionOver(problem, OutcomeKind.CLIENT_LEFT)


def _check_bound(version: Version, bound: Address) -> None:
    """Check that a reply can carry the address of a client's port.

    Raises:
        RequestRefused: SOCKS4 has room for an IPv4 address only, and zeros would mean our own address.
    """
    if version is Version.SOCKS4 and bound.type is not AddressType.IPV4:
        problem = "a SOCKS4 reply cannot carry {}"
        whole, discreet = problem.format(bound), problem.format("this address")
        raise RequestRefused(whole, ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED, discreet=discreet)


def _chain_of(decision: RoutingDecision) -> Chain:
    if decision.dialled is None:
        raise RuntimeError("a refused request is not dialled")
    return decision.dialled
