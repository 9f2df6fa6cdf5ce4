"""One accepted connection, start to finish.

::

    accept ─ handshake ─ request ─ rules ─ dial ─ reply ─ relay ─ close ─ one line in the log
                                        ├─ bind ─ reply ─ wait ─ second reply ─┤   (`chainsocks.session.bind`)
                                        ├─ associate ─ reply ─ relay datagrams ┤   (`chainsocks.session.associate`)
                                        └─ resolve ─ reply ────────────────────┘   (`chainsocks.chain.resolve`)

1. Every step has its deadline: `handshake` until the request is complete, then those of the dial, `reply` for an
   answer, and the relay's. One cancel scope serves them all, armed anew for each; a refusal has scopes of its own, and
   so has each try where a chain leaves a choice (`chainsocks.chain.dial`).
2. The reply is sent when the last hop has said so, and says what is true.
3. What the client sends behind its request is the first data upstream; what follows the last hop's reply is the first
   data down.
4. A stream that did not come to its regular end is reset, so that nobody takes a part for the whole.
5. Whatever the network does is an outcome in the log line, not an exception.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.chain.associate import Association, AssociationWalk
from chainsocks.chain.bind import BindWalk
from chainsocks.chain.dial import Tries, close_upstream
from chainsocks.chain.network import CancelScope
from chainsocks.chain.resolve import ResolveWalk
from chainsocks.chain.walk import Upstream, Walk
from chainsocks.config.chains import Route
from chainsocks.config.hops import NamesOnly
from chainsocks.config.models import Ident
from chainsocks.errors import Cause, DialError, DialTimeout, LoginRefused, ProtocolError, RequestRefused
from chainsocks.gss.stream import CapsuleError, EncapsulatedStream
from chainsocks.net.stream import SocketStream, reset_on_close
from chainsocks.protocol import socks5
from chainsocks.protocol.address import UNSPECIFIED, Address, printable
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.gssapi import Principal
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.messages import Command, Reply, ReplyCode, Request, UsernamePassword, Version
from chainsocks.relay.datagrams import DatagramRelay, Tally
from chainsocks.relay.relay import Relay
from chainsocks.routing.rules import Caller
from chainsocks.session.associate import open_datagram_relay
from chainsocks.session.bind import await_peer, check_bound
from chainsocks.session.gssapi import GssapiLogin, accepted_methods
from chainsocks.session.ident import check_ident
from chainsocks.session.parting import part
from chainsocks.session.passage import Passage, find_passage, judge_of
from chainsocks.session.record import Record
from chainsocks.session.service import Service

__all__ = ["serve_session"]

WalkT = TypeVar("WalkT", bound=Walk)
ResultT = TypeVar("ResultT")


async def serve_session(
    client: ByteStream, name: str, service: Service, host: str = "", names_only: NamesOnly = NamesOnly.OFF
) -> None:
    """Serve one connection; `name` is the client's address for the log, `host` its IP address if it has one.

    `names_only` is that of the listener.

    *Closing*: `client`, and whatever is opened on its behalf, is closed before this returns.
    """
    record = Record(name)
    try:
        await _Session(client, service, record, host, names_only).run()
    except* trio.Cancelled:  # a nursery on the way up makes a group of it
        record.outcome = "cut off: the server is stopping"
        if record.reply is None:  # otherwise the relay has seen to it, where it had to
            reset_on_close(client)
        raise
    finally:
        record.write()
        await client.aclose()


class _Session:
    """A client, how far it has come, and what that means when the time for a step is over."""

    __slots__ = ("_client", "_handshake", "_host", "_names_only", "_record", "_service", "_time_is_up", "_timeouts")

    def __init__(self, client: ByteStream, service: Service, record: Record, host: str, names_only: NamesOnly) -> None:
        self._client = client
        self._host = host
        self._names_only = names_only
        self._service = service
        self._timeouts = service.config.timeouts
        self._record = record
        self._handshake: ServerHandshake | None = None
        self._time_is_up: Callable[[], DialTimeout | None] = self._no_request
        """Says which step did not end within its limit; returns the refusal that the client is owed for it, if any."""

    async def run(self) -> None:
        """Serve the client, and part with it in a way that it understands."""
        refusal: RequestRefused | DialError | None = None
        try:
            with self._service.network.open_scope(self._record.began + self._timeouts.handshake) as scope:
                await self._serve(scope)
            if scope.cancelled_caught:
                refusal = self._time_is_up()
        except ProtocolError as error:
            self._record.outcome = f"client, {self._step}: {error}"
            await part(self._client, self._timeouts.reply)
        except (RequestRefused, DialError) as error:
            refusal = error
        if refusal and self._handshake:
            await self._refuse(self._handshake, refusal)

    async def _serve(self, scope: CancelScope) -> None:
        """Hear the client out, and do what it asks for. `scope` is armed for the first of these.

        Raises:
            ProtocolError: the client broke the protocol or may not come in; what it is owed has been sent.
            RequestRefused, DialError: it is owed a refusal.
        """
        record = self._record
        try:
            handshake = await self._hear()
        except BrokenResourceError as error:
            problem = str(error) if isinstance(error, CapsuleError) else "it reset the connection"
            record.outcome = f"client, {self._step}: {problem}"
            return
        request = record.request = handshake.request
        ident, user = self._service.config.server.ident, None
        if ident is not Ident.OFF and request.version is Version.SOCKS4:
            scope.deadline = math.inf  # it is in time; what follows has limits of its own
            limit, network = self._timeouts.ident, self._service.network
            user = await check_ident(self._client, request.credentials, ident, limit, network)
        caller = self._caller(request, user)
        passage = await find_passage(request, caller, self._service, record, self._names_only, scope)
        match request.command:
            case Command.CONNECT:
                await self._connect(handshake, passage, scope)
            case Command.BIND:
                await self._bind(handshake, passage, scope)
            case Command.UDP_ASSOCIATE:
                await self._associate(handshake, passage, caller, scope)
            case Command.RESOLVE | Command.RESOLVE_PTR:
                await self._resolve(handshake, passage, scope)

    async def _through(
        self,
        passage: Passage,
        begin: Callable[[Route, float | None], WalkT],
        go: Callable[[WalkT, CancelScope], Awaitable[ResultT]],
        scope: CancelScope,
        discard: Callable[[ResultT], Awaitable[None]] | None = None,
    ) -> ResultT:
        """Walk the only route through a chain, or try what there is; see `chainsocks.chain.dial`."""
        chain = passage.chain
        if chain.route:
            walk = begin(chain.route, None)
            self._time_is_up = walk.timeout
            return await go(walk, scope)
        scope.deadline = math.inf  # each try has a scope of its own
        key = self._host.encode() + b"\0" + passage.destination.packed
        tries = Tries(chain, key, self._service.choices, passage.network, begin, go, discard)
        walk, result = await tries.run()
        self._time_is_up = walk.timeout
        self._record.route = walk.route
        return result

    async def _connect(self, handshake: ServerHandshake, passage: Passage, scope: CancelScope) -> None:
        """Dial, reply, relay."""
        network, on_step = passage.network, self._service.on_step

        def begin(route: Route, began: float | None) -> Walk:
            return Walk(route, passage.destination, self._timeouts, network, on_step, began)

        upstream = await self._through(passage, begin, Walk.go, scope, close_upstream)
        await self._carry(handshake, upstream, scope)

    async def _bind(self, handshake: ServerHandshake, passage: Passage, scope: CancelScope) -> None:
        """Have a port opened, reply, wait for the peer, reply again, relay."""
        network, on_step = passage.network, self._service.on_step
        advertised = self._service.config.server.bind_address

        def begin(route: Route, began: float | None) -> BindWalk:
            return BindWalk(route, passage.destination, self._timeouts, network, on_step, began, advertised)

        async def bind(walk: BindWalk, scope: CancelScope) -> tuple[BindWalk, Address]:
            return walk, await walk.bind(scope)

        walk, bound = await self._through(passage, begin, bind, scope)
        try:
            check_bound(handshake.request.version, bound)
            if not await self._grant(handshake, bound, scope):
                return
            self._time_is_up = walk.timeout
            upstream = await await_peer(walk, scope, self._client, handshake)
        finally:
            await walk.aclose()
        if upstream:
            await self._carry(handshake, upstream, scope)
        else:
            self._record.outcome = "the client left before its peer came"

    async def _carry(self, handshake: ServerHandshake, upstream: Upstream, scope: CancelScope) -> None:
        """Reply, relay; `upstream` is closed at the end."""
        try:
            if await self._grant(handshake, upstream.bound, scope):
                relay = Relay(
                    self._client,
                    upstream.stream,
                    self._record.traffic,
                    early_up=handshake.trailing_data,
                    early_down=upstream.trailing_data,
                    idle=self._timeouts.idle,
                    half_close=self._timeouts.half_close,
                )
                await self._run(relay, scope)
                for stream in (self._client, upstream.stream):
                    if isinstance(stream, EncapsulatedStream) and stream.problem:
                        self._record.outcome += f": {stream.problem}"
        finally:
            await upstream.stream.aclose()

    async def _associate(
        self, handshake: ServerHandshake, passage: Passage, caller: Caller, scope: CancelScope
    ) -> None:
        """Open associations at all hops, reply, and relay datagrams."""
        if isinstance(self._client, EncapsulatedStream):
            what = "datagrams would go without the protection that was agreed on by GSSAPI"
            raise RequestRefused(what, ReplyCode.COMMAND_NOT_SUPPORTED)
        service, request, tally, judge = self._service, handshake.request, Tally(self._record.traffic), None
        network, on_step = service.network, service.on_step
        if service.router.has_rules or passage.names_only is not NamesOnly.OFF:
            judge = judge_of(service.router, request, caller, passage, self._record.who)

        def begin(route: Route, began: float | None) -> AssociationWalk:
            return AssociationWalk(route, UNSPECIFIED, self._timeouts, network, on_step, began)

        async def associate() -> Association:
            return await self._through(passage, begin, AssociationWalk.associate, scope)

        async with open_datagram_relay(
            self._client, request, passage.chain, service.config, network, associate, tally, judge
        ) as (relay, bound):
            if await self._grant(handshake, bound, scope):
                await self._run(relay, scope)

    async def _resolve(self, handshake: ServerHandshake, passage: Passage, scope: CancelScope) -> None:
        """Look up a name, or the name of an address, and reply with it: that is all."""
        request, network, on_step = handshake.request, passage.network, self._service.on_step

        def begin(route: Route, began: float | None) -> ResolveWalk:
            return ResolveWalk(route, request.command, passage.destination, self._timeouts, network, on_step, began)

        answer = await self._through(passage, begin, ResolveWalk.answer, scope)
        check_bound(request.version, answer)
        if await self._grant(handshake, answer, scope):
            scope.deadline = math.inf
            self._record.outcome = f"answered {printable(answer.host)}"
            await part(self._client, self._timeouts.reply)

    async def _run(self, relay: Relay | DatagramRelay, scope: CancelScope) -> None:
        """Run a relay to its end, which is the session's."""

        def note_outcome() -> None:
            self._record.outcome = relay.outcome

        self._time_is_up = note_outcome
        await relay.run(scope)
        note_outcome()

    async def _hear(self) -> ServerHandshake:
        """Return a handshake that has a request and waits for our reply.

        Raises:
            ProtocolError: as `_serve` does.
            BrokenResourceError: the client is gone.
        """
        data = await self._receive()
        if not data:
            raise ProtocolError("it left without a word", Cause.CLOSED)
        logins = self._service.logins
        gssapi = self._service.config.server.gssapi
        by_gssapi = GssapiLogin(gssapi) if gssapi else None
        handshake = self._handshake = server_handshake(data, accepted_methods(gssapi, logins.methods))
        try:
            while True:
                handshake.receive_data(data)
                if handshake.state is State.LOGIN and isinstance(handshake, socks5.ServerHandshake):
                    if await logins.accept(handshake.login):
                        handshake.accept_login()
                    else:
                        handshake.refuse_login()
                        raise LoginRefused("wrong username or password", Cause.LOGIN_REFUSED)
                elif by_gssapi and isinstance(handshake, socks5.ServerHandshake):
                    self._client = await by_gssapi.go_on(handshake, self._client)
                await self._answer(handshake)
                if handshake.state is State.REPLY:
                    return handshake
                data = await self._receive()
        except ProtocolError:
            await self._answer(handshake)
            raise

    async def _receive(self) -> bytes:
        try:
            return await self._client.receive()
        except EndOfStream:
            return b""

    async def _answer(self, handshake: ServerHandshake) -> None:
        if answer := handshake.data_to_send():
            await self._client.send(answer)

    async def _grant(self, handshake: ServerHandshake, bound: Address, scope: CancelScope) -> bool:
        """Tell the client that its way is open; False when it does not want to know any more."""
        self._record.reply = ReplyCode.SUCCEEDED
        self._time_is_up = self._reply_not_taken
        handshake.send_reply(Reply(ReplyCode.SUCCEEDED, bound))
        answer = handshake.data_to_send()
        try:
            sent = self._client.send_nowait(answer) if isinstance(self._client, SocketStream) else 0
            if sent < len(answer):  # hardly ever: and so without a deadline of its own otherwise
                scope.deadline = self._service.network.now() + self._timeouts.reply
                await self._client.send(answer[sent:])
        except BrokenResourceError:
            self._record.outcome = "the client left before its reply"
            return False
        return True

    def _no_request(self) -> None:
        self._record.outcome = f"client, {self._step}: no complete request (within {self._timeouts.handshake:g} s)"

    def _reply_not_taken(self) -> None:
        self._record.outcome = f"client, reply: not taken (within {self._timeouts.reply:g} s)"

    def _caller(self, request: Request, user: bytes | None) -> Caller:
        """Say who asks; `user` is what the identd of a SOCKS4 client confirms."""
        login = request.credentials
        if self._service.logins.required and isinstance(login, UsernamePassword):
            return Caller(self._host, login.username)
        if isinstance(login, Principal):
            return Caller(self._host, login.name.encode("utf-8", "surrogateescape"))
        return Caller(self._host, user)

    @property
    def _step(self) -> str:
        """How far the client has come with its request."""
        return self._handshake.step if self._handshake else "first byte"

    async def _refuse(self, handshake: ServerHandshake, refusal: RequestRefused | DialError) -> None:
        """Tell the client that its way is not open."""
        record = self._record
        record.outcome = str(refusal)
        record.reply = refusal.reply_code
        handshake.send_reply(Reply(refusal.reply_code))
        with trio.move_on_after(self._timeouts.reply) as scope:
            try:
                await self._answer(handshake)
            except BrokenResourceError:
                record.outcome = "the client left before its reply"
                return
        if scope.cancelled_caught:
            self._reply_not_taken()
            return
        await part(self._client, self._timeouts.reply)
