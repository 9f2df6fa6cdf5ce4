"""Read a client's request, and identify the client: the handshake, its login, GSSAPI and ident."""

from __future__ import annotations

import math

import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.identities import Proof
from chainsocks.config.listeners import ListenerKind
from chainsocks.config.models import Ident
from chainsocks.errors import Cause, LoginRefused, ProtocolError, Step
from chainsocks.limits.logins import LoginDelayed
from chainsocks.observe.privacy import shown
from chainsocks.protocol import socks5
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.dns_handshake import QuestionHandshake
from chainsocks.protocol.gssapi import Principal
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.messages import Command, Method, Request, UsernamePassword, Version
from chainsocks.protocol.unspoken import UnspokenHandshake
from chainsocks.routing.rules import Caller
from chainsocks.session.client_watch import until_client_leaves
from chainsocks.session.connection import Connection, Earlier
from chainsocks.session.gssapi import GssapiLogin, accepted_methods
from chainsocks.session.ident import check_ident
from chainsocks.session.lingering_close import linger_and_close
from chainsocks.session.place import Place
from chainsocks.session.service import Service
from chainsocks.session.tls import accept_tls
from chainsocks.shares import client_of

__all__ = ["RequestReader"]

LOGIN, REPLY, HTTP_ONLY, NO_IDENT = State.LOGIN, State.REPLY, ListenerKind.HTTP, Ident.OFF  # looked up once

_CERTIFICATE_IS_ENOUGH = (Method.NO_AUTHENTICATION_REQUIRED, Method.USERNAME_PASSWORD)
"""The methods for a client with a certificate. It may log in with anything, if it insists."""


class RequestReader:
    """Reads one request from the client of `connection`.

    TLS and GSSAPI wrap the connection: `client` is then the stream to go on with. `handshake` is None before the first
    byte. `heard` is what another reader has taken from `client` before, and `answered` the number of bytes that this
    one has sent: they are not read, or sent, a second time. `place` is the one that the session may have to give up.
    """

    __slots__ = (
        "_answered",
        "_certificate",
        "_heard",
        "_is_in_tls",
        "_service",
        "client",
        "connection",
        "handshake",
        "place",
    )

    def __init__(
        self,
        connection: Connection,
        service: Service,
        heard: bytes = b"",
        answered: int = 0,
        place: Place | None = None,
    ) -> None:
        self.client = connection.client
        self.place = place
        self.handshake: ServerHandshake | None = None
        self._service = service
        self.connection = connection
        self._heard = heard
        self._answered = answered
        self._is_in_tls = connection.listener.tls is None
        """Whether the client has done what TLS its listener wants."""
        self._certificate = ""
        """The name in the client's certificate."""
        if earlier := connection.earlier:
            self.client, self._certificate, self._heard = earlier
            self._is_in_tls = True

    @property
    def step(self) -> str:
        """How far the client has come with its request."""
        if not self._is_in_tls:
            return Step.TLS
        return self.handshake.step if self.handshake else "first byte"

    def explain(self, problem: object) -> str:
        """Return the outcome of a session that has ended, by a problem, before its request was complete."""
        if self.place and self.place.ended:
            problem = "ended to make room for others, before its request was complete"
        return f"client, {self.step}: {shown(problem)}"

    async def read(self) -> ServerHandshake:
        """Return a handshake that has a request and waits for our reply.

        Raises:
            ProtocolError: the client broke the protocol or may not come in; the answer that it is owed has been sent.
            BrokenResourceError: the client's connection broke.
        """
        listener, target = self.connection.listener, self.connection.target
        if not self._is_in_tls and listener.tls:
            self.client, self._certificate = await accept_tls(self.client, listener.tls)
            self._is_in_tls = True
        if target:
            version = Version.TUNNEL if listener.kind is ListenerKind.TUNNEL else Version.REDIRECTED
            command = Command.UDP_ASSOCIATE if self.connection.datagrams else Command.CONNECT
            self.handshake = UnspokenHandshake(version, target, command)
            return self.handshake
        if self.connection.question:
            self.handshake = QuestionHandshake(self.connection.question)
            return self.handshake
        data = self._heard or await self._receive()
        if not data:
            raise ProtocolError("it left without a word", Cause.CLOSED)
        logins, gssapi = self._service.logins, self._service.config.server.gssapi
        methods = accepted_methods(gssapi, logins.methods)
        if self._certificate:
            methods, gssapi = _CERTIFICATE_IS_ENOUGH, None
        by_gssapi = GssapiLogin(gssapi) if gssapi else None
        http_only = self.connection.listener.kind is HTTP_ONLY
        handshake = self.handshake = server_handshake(data, methods, http_only=http_only)
        try:
            while True:
                handshake.receive_data(data)
                if handshake.state is LOGIN:
                    login = handshake.login
                    if not (self._certificate or logins.is_known(login) or await self._is_right(handshake)):
                        handshake.refuse_login()
                        raise LoginRefused("wrong username or password", Cause.LOGIN_REFUSED)
                    handshake.accept_login()
                elif by_gssapi and isinstance(handshake, socks5.ServerHandshake):
                    self.client = await by_gssapi.go_on(handshake, self.client)
                await self.send_answer(handshake)
                if handshake.state is REPLY:
                    return handshake
                data = await self._receive()
        except ProtocolError:
            await self.send_answer(handshake)
            raise

    async def _is_right(self, handshake: ServerHandshake) -> bool:
        """Check a login that was not right before, for as long as the client is there."""
        service, host, listener = self._service, self.connection.host, self.connection.listener
        address = client_of(host)
        failed = service.limits.failed_logins(host, listener.address) if service.limits else None
        with until_client_leaves(self.client, handshake):
            try:
                if failed is None:
                    return await service.logins.accept(handshake.login, address)
                async with failed.turn(address, self._deadline()) as turn:
                    is_right = await service.logins.accept(handshake.login, address)
                    turn.is_wrong = not is_right
                return is_right
            except LoginDelayed as delayed:
                handshake.refuse_login()
                limit = f"failed_logins ({delayed.most}) is reached"
                problem = f"not checked: {limit}, the next one of its address is in {math.ceil(delayed.seconds)} s"
                raise LoginRefused(problem, Cause.TIMED_OUT) from None
            except OSError as error:
                handshake.refuse_login()
                raise LoginRefused(f"no thread for it at this end: {error.strerror}", Cause.SYSTEM_ERROR) from error
        raise ProtocolError("it left", Cause.CLOSED)

    def _deadline(self) -> float:
        """Return when the time for the request ends, on the network's clock."""
        began = self.place.began if self.place else self._service.network.now()
        return began + self._service.config.timeouts.handshake

    def refuse_login(self, problem: str) -> LoginRefused | None:
        """Refuse a login whose check has no more time; return the error to raise, None if no login waits."""
        handshake = self.handshake
        if handshake is None or handshake.state is not LOGIN:
            return None
        handshake.refuse_login()
        return LoginRefused(problem, Cause.TIMED_OUT)

    def next_connection(self, heard: bytes) -> Connection:
        """Return the connection for another session, whose client has sent `heard` already."""
        return self.connection._replace(earlier=Earlier(self.client, self._certificate, heard))

    async def close(self, seconds: float) -> None:
        """Send a client that is refused what it is still owed, and close so that it can read that."""
        with trio.move_on_after(seconds):
            try:
                if self.handshake:
                    await self.send_answer(self.handshake)
            except BrokenResourceError:
                return
        await linger_and_close(self.client, seconds)

    async def send_answer(self, handshake: ServerHandshake) -> None:
        """Send what the handshake owes the client now.

        Raises:
            BrokenResourceError: the client's connection broke.
        """
        if answer := self.answer(handshake):
            await self.client.send(answer)

    def answer(self, handshake: ServerHandshake) -> bytes:
        """Return what the handshake owes the client now, without what has been sent before."""
        answer = handshake.data_to_send()
        if self._answered:
            sent = min(self._answered, len(answer))
            self._answered -= sent
            answer = answer[sent:]
        return answer

    async def _receive(self) -> bytes:
        """Return the next bytes; none when the client has finished its side."""
        try:
            return await self.client.receive()
        except EndOfStream:
            return b""

    async def identify(self, request: Request) -> tuple[str, Caller]:
        """Return the identity that the client has proved (`chainsocks.config.identities`), "" for none; and the caller.

        Raises:
            RequestRefused: its identd does not confirm its user id, and has to.
        """
        service, login = self._service, request.credentials
        if self._certificate:
            identity = f"{Proof.CERTIFICATE}{self._certificate}"
        elif service.logins.required and isinstance(login, UsernamePassword):
            identity = _text(login.username)
        elif isinstance(login, Principal):
            identity = f"{Proof.GSSAPI}{login.name}"
        else:
            policy, seconds = service.config.server.ident, service.config.timeouts.ident
            if policy is NO_IDENT or request.version is not Version.SOCKS4:
                return "", Caller(self.connection.host)
            if self.place:
                self.place.keep(client_of(self.connection.host))  # the request is complete, and this may take a while
            user = await check_ident(self.client, login, policy, seconds, service.network, self.connection.told)
            if user is None:
                return "", Caller(self.connection.host)
            identity = f"{Proof.IDENT}{_text(user)}"
        return identity, Caller(self.connection.host, identity.encode("utf-8", "surrogateescape"))


def _text(name: bytes) -> str:
    """Return a name, which may be any bytes, as text."""
    return name.decode("utf-8", "surrogateescape")
