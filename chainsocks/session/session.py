"""One accepted connection, start to finish.

::

    accept ─ handshake ─ request ─ chain ─ dial ─ reply ─ relay ─ close ─ one line in the log

1. Every step has its deadline, opened here: `handshake` until the request is complete, `reply` for each answer; the
   dial and the relay bring their own.
2. The reply is sent when the last hop has said so, and says what is true.
3. What the client sends behind its request is the first data upstream; what follows the last hop's reply is the first
   data down.
4. A stream that did not come to its regular end is reset, so that nobody takes a part for the whole.
5. Whatever the network does is an outcome in the log line, not an exception.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.chain.dial import Network, OnStep, dial
from chainsocks.config.hops import Chain
from chainsocks.config.models import Config, Timeouts
from chainsocks.errors import DialError, LoginRefused, ProtocolError, RequestRefused
from chainsocks.net.stream import SocketStream, reset_on_close
from chainsocks.protocol import socks5
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.messages import Command, Reply, ReplyCode, Request, UsernamePassword
from chainsocks.relay.relay import relay
from chainsocks.session.login import Logins
from chainsocks.session.record import Record

__all__ = ["Service", "serve_session"]

LEFTOVERS = 256 * 1024
"""Bytes that a refused client may still have on their way and that we read away (`_part_with`)."""

PARTING = 10
"""Seconds at most that this takes, whatever the deadlines are (RFC 1928 section 6)."""


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions of a server share."""

    config: Config
    logins: Logins
    network: Network
    on_step: OnStep | None = None


async def serve_session(client: ByteStream, name: str, service: Service) -> None:
    """Serve one connection; `name` is the client's address for the log.

    *Closing*: `client`, and whatever is opened on its behalf, is closed before this returns.
    """
    record = Record(name)
    try:
        await _serve(client, service, record)
    except* trio.Cancelled:  # a nursery on the way up makes a group of it
        record.outcome = "cut off: the server is stopping"
        if record.reply is None:  # otherwise the relay has seen to it, where it had to
            reset_on_close(client)
        raise
    finally:
        record.write()
        await client.aclose()


async def _serve(client: ByteStream, service: Service, record: Record) -> None:
    handshake = await _receive_request(client, service, record)
    if handshake is None:
        return
    request = record.request = handshake.request
    config = service.config
    try:
        chain = record.chain = _route(request, service)
        upstream = await dial(chain, request.destination, config.timeouts, service.network, service.on_step)
    except (RequestRefused, DialError) as error:
        record.outcome = str(error)
        if await _send_reply(client, handshake, Reply(error.reply_code), record, config.timeouts):
            await _part_with(client, config.timeouts)
        return
    try:
        reply = Reply(ReplyCode.SUCCEEDED, upstream.bound)
        if await _send_reply(client, handshake, reply, record, config.timeouts):
            record.outcome = await relay(
                client,
                upstream.stream,
                record.traffic,
                early_up=handshake.trailing_data,
                early_down=upstream.trailing_data,
                idle=config.timeouts.idle,
                half_close=config.timeouts.half_close,
            )
    finally:
        await upstream.stream.aclose()


async def _receive_request(client: ByteStream, service: Service, record: Record) -> ServerHandshake | None:
    """Hear the client out, and check its login; None when that came to nothing, and `record` says why."""
    limit = service.config.timeouts.handshake
    conversation = _Conversation(client, service.logins)
    with trio.move_on_after(limit) as scope:
        try:
            return await conversation.hear()
        except ProtocolError as error:
            record.outcome = f"client, {conversation.step}: {error}"
        except BrokenResourceError:
            record.outcome = f"client, {conversation.step}: it reset the connection"
            return None
    if scope.cancelled_caught:
        record.outcome = f"client, {conversation.step}: no complete request (within {limit:g} s)"
    else:
        await _part_with(client, service.config.timeouts)
    return None


class _Conversation:
    """The client's side of a session, up to its request."""

    def __init__(self, client: ByteStream, logins: Logins) -> None:
        self._client = client
        self._logins = logins
        self._handshake: ServerHandshake | None = None

    @property
    def step(self) -> str:
        """How far the client has come."""
        return self._handshake.step if self._handshake else "first byte"

    async def hear(self) -> ServerHandshake:
        """Return a handshake that has a request and waits for our reply.

        Raises:
            ProtocolError: the client broke the protocol or may not come in; what it is owed has been sent.
            BrokenResourceError: the client is gone.
        """
        data = await self._receive()
        if not data:
            raise ProtocolError("it left without a word")
        handshake = self._handshake = server_handshake(data, self._logins.methods)
        try:
            while True:
                handshake.receive_data(data)
                if isinstance(handshake, socks5.ServerHandshake) and handshake.state is State.LOGIN:
                    await self._check_login(handshake)
                await self._answer(handshake)
                if handshake.state is State.REPLY:
                    return handshake
                data = await self._receive()
        except ProtocolError:
            await self._answer(handshake)
            raise

    async def _check_login(self, handshake: socks5.ServerHandshake) -> None:
        if await self._logins.accept(handshake.login):
            handshake.accept_login()
        else:
            handshake.refuse_login()
            raise LoginRefused("wrong username or password")

    async def _answer(self, handshake: ServerHandshake) -> None:
        if answer := handshake.data_to_send():
            await self._client.send(answer)

    async def _receive(self) -> bytes:
        try:
            return await self._client.receive()
        except EndOfStream:
            return b""


def _route(request: Request, service: Service) -> Chain:
    """Decide which chain serves a request.

    Raises:
        RequestRefused: none does.
    """
    if request.command is not Command.CONNECT:
        raise RequestRefused(f"{request.command.name} is not offered", ReplyCode.COMMAND_NOT_SUPPORTED)
    if service.logins.required and not isinstance(request.credentials, UsernamePassword):
        raise RequestRefused("SOCKS4 cannot log in, and a login is required", ReplyCode.NOT_ALLOWED_BY_RULESET)
    chain = service.config.default_chain
    if chain is None:
        raise RequestRefused('no chain is called "default"', ReplyCode.NOT_ALLOWED_BY_RULESET)
    return chain


async def _send_reply(
    client: ByteStream, handshake: ServerHandshake, reply: Reply, record: Record, timeouts: Timeouts
) -> bool:
    """Answer the request; False when the client did not take the answer."""
    record.reply = reply.code
    handshake.send_reply(reply)
    answer = handshake.data_to_send()
    try:
        sent = client.send_nowait(answer) if isinstance(client, SocketStream) else 0
        if sent == len(answer):
            return True  # nearly always: and so without a cancel scope
        with trio.move_on_after(timeouts.reply) as scope:
            await client.send(answer[sent:])
    except BrokenResourceError:
        record.outcome = "the client left before its reply"
        return False
    if scope.cancelled_caught:
        record.outcome = f"client, reply: not taken (within {timeouts.reply:g} s)"
    return not scope.cancelled_caught


async def _part_with(client: ByteStream, timeouts: Timeouts) -> None:
    """Let a client that we refuse read why, before the connection closes.

    Closing a socket that holds unread data resets it, and a reset can overtake our answer; so the rest of what the
    client is saying is read away, up to a limit, until it closes.
    """
    with trio.move_on_after(min(timeouts.reply, PARTING)):
        try:
            await client.send_eof()
            left = LEFTOVERS
            while left > 0:
                left -= len(await client.receive())
        except (BrokenResourceError, EndOfStream):
            return
