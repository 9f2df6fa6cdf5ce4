"""Hops for the network in memory: an honest one, and the same one with a fault at a step of its choice."""

from __future__ import annotations

import errno
import ssl
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import anyio
import trio
import trio.testing
from anyio import BrokenResourceError
from anyio.abc import ByteStream

from chainsocks.chain.connect_errors import explain_connect_error
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain, Route
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import KINDS, HopProtocol
from chainsocks.errors import Step, reply_code_of
from chainsocks.gss.stream import EncapsulatedStream
from chainsocks.net.tls import TlsStream
from chainsocks.observe.record import Traffic
from chainsocks.protocol.address import Address
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.gssapi import ABORT, Gssapi, MessageType, Principal, Protection, encode_message
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.messages import Command, Credentials, Method, Reply, ReplyCode, UserId, UsernamePassword
from chainsocks.protocol.socks5 import ServerHandshake as Socks5ServerHandshake
from chainsocks.relay.relay import Outcome
from tests.mechanism import FakeAcceptor
from tests.memory import Handler, Host, MemoryListener, MemoryNetwork, MemoryStream
from tests.relay.ways import relay

RELAY = Address("0.0.0.0", 2000)
"""Where an honest hop takes datagrams: all zero is its own address. Nobody listens there."""

ANSWERS = {Command.RESOLVE: Address("192.0.2.99", 0), Command.RESOLVE_PTR: Address("ninety-nine.example", 0)}
"""What an honest hop knows, whatever it is asked."""

GARBAGE = b"HTTP/1.1 400 Bad Request\r\n\r\n"


REFUSALS = {
    0x05: b"\x05\x05\x00\x01\0\0\0\0\0\0",
    0x00: b"\0\x5b\0\0\0\0\0\0",
    ord("H"): b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry",
}
"""Refusals of a request by the first byte of an answer."""


class Fault(StrEnum):
    MUTE = "mute"
    DRIP = "one byte per second"
    RESET = "reset"
    OVERTAKING = "reset at once"
    """It throws away answers that were sent before, if nobody has read them yet."""
    FIN = "FIN"
    GARBAGE = "garbage"
    REFUSAL = "refusal"
    LOSS = "loss"
    """It answers as it should, and loses what it has been sent behind the message of this step."""


@dataclass(frozen=True)
class Trouble:
    """A fault, and the step whose answer it comes in place of."""

    step: str
    fault: Fault


def make_hop(
    position: int,
    protocol: HopProtocol = HopProtocol.SOCKS5,
    timeout: float | None = None,
    login: Credentials | None = None,
) -> Hop:
    """Hop 1 is called paris, 2 osaka, 3 lima; each wants a login where its protocol has one."""
    name = ("paris", "osaka", "lima")[position - 1]
    if login is None:
        login = UserId(b"fred") if UserId in KINDS[protocol].logins else UsernamePassword(b"bob", b"pw")
    return Hop(name, protocol, Address(f"10.0.0.{position}", 1080), login, timeout)


def way_of(chain: Chain) -> Route:
    """Return the only route of a chain without groups."""
    assert chain.route
    return chain.route


def add_hop(
    network: MemoryNetwork, hop: Hop, trouble: Trouble | None = None, *, tls: ssl.SSLContext | None = None
) -> None:
    """Put a hop into the network, honest but for its trouble. With `tls` it is spoken to in that."""
    host = Host(_hop_handler(network, hop, trouble, tls))
    if trouble and trouble.step == CONNECT:
        host = {
            Fault.MUTE: Host(),
            Fault.DRIP: Host(delay=1000, error=errno.ETIMEDOUT),
            Fault.RESET: Host(error=errno.ECONNRESET),
            Fault.FIN: Host(_close_at_once),
            Fault.GARBAGE: Host(_greet_with_garbage),
            Fault.REFUSAL: Host(error=errno.ECONNREFUSED),
        }[trouble.fault]
    network.hosts[hop.address] = host


async def _close_at_once(stream: MemoryStream) -> None:
    await trio.lowlevel.checkpoint()


async def _greet_with_garbage(stream: MemoryStream) -> None:
    await trio.testing.wait_all_tasks_blocked()  # not glued to what the hop before says of it
    await stream.send(GARBAGE)
    await trio.sleep_forever()


def _hop_handler(
    network: MemoryNetwork, hop: Hop, trouble: Trouble | None, tls: ssl.SSLContext | None = None
) -> Handler:
    methods = [Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION_REQUIRED]
    if isinstance(hop.credentials, Gssapi):
        methods = [Method.GSSAPI]
    loses_in = None
    if trouble and trouble.fault is Fault.LOSS:
        loses_in, trouble = trouble.step, None

    async def serve(raw: MemoryStream) -> None:
        client = Line(raw)
        if tls and not await client.start_tls(tls, trouble):
            return
        unread = await client.receive()
        handshake = server_handshake(unread, methods)
        while True:
            step = handshake.state
            handshake.receive_data(unread[:1])  # one by one, for what is behind a message has to be kept
            unread = b"" if step == loses_in and handshake.state is not step else unread[1:]
            if handshake.state is State.LOGIN:
                network.logins.append((hop.address.host, handshake.login.username, handshake.login.password))
                handshake.accept_login()
            if isinstance(handshake, Socks5ServerHandshake) and handshake.token is not None:
                await client.work(handshake)
            upstream = None
            if handshake.state is State.REPLY:
                if handshake.request.command is Command.BIND:
                    await _bind(network, hop.address, handshake, client, trouble)
                    return
                if not (trouble and trouble.step == State.REQUEST):
                    upstream = await _connect(network, handshake)
                else:
                    handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
            if answer := handshake.data_to_send():
                if trouble and trouble.step == step:
                    await _commit(trouble, client, answer)
                    return
                await client.send(answer)
                client.agree(handshake)
            if upstream:
                await _relay(client, upstream, unread)
                return
            unread = unread or await client.receive()

    return serve


class Line:
    """A hop's connection to its client, with whatever GSSAPI puts around it."""

    def __init__(self, raw: MemoryStream) -> None:
        self.raw = raw
        self.stream: ByteStream = raw
        self.context = FakeAcceptor()
        self.protection: Protection | None = None

    async def start_tls(self, context: ssl.SSLContext, trouble: Trouble | None) -> bool:
        """Speak TLS from now on; return False if the client does not go on."""
        if trouble and trouble.step == Step.TLS:
            hello, incoming, outgoing = await self.raw.receive(), ssl.MemoryBIO(), ssl.MemoryBIO()
            incoming.write(hello)
            with suppress(ssl.SSLWantReadError):
                context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
            await _commit(trouble, self, outgoing.read())
            return False
        self.stream = secured = TlsStream(self.raw, context, is_server=True)
        try:
            await secured.handshake()
        except BrokenResourceError:
            return False
        return True

    async def work(self, handshake: Socks5ServerHandshake) -> None:
        """Be the mechanism, which knows everybody and agrees to everything."""
        token = handshake.token or b""
        if handshake.state is State.GSSAPI_CONTEXT:
            answer = await self.context.step(token)
            handshake.complete_context(answer, Principal(self.context.principal))
            return
        [level] = self.context.unwrap(token, Protection.NONE)
        self.protection = Protection(level)
        handshake.agree(self.context.wrap(bytes((level,)), Protection.NONE), self.protection)

    def agree(self, handshake: ServerHandshake) -> None:
        """Go on under what has been agreed on."""
        if self.protection and self.stream is self.raw and isinstance(handshake, Socks5ServerHandshake):
            self.stream = EncapsulatedStream(self.raw, self.context, self.protection, handshake.release())

    def seal(self, data: bytes) -> bytes:
        """Put a message into a capsule, if that is how it has to go."""
        if self.protection and self.stream is not self.raw:
            return encode_message(MessageType.DATA, self.context.wrap(data, self.protection))
        return data

    async def receive(self) -> bytes:
        return await self.stream.receive()

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)


async def _relay(client: Line, upstream: MemoryStream, early: bytes = b"") -> None:
    try:
        if early:
            await upstream.send(early)
        outcome = await relay(client.stream, upstream, Traffic(), idle=1000, half_close=1000)
        if outcome is not Outcome.FINISHED:
            client.raw.reset()
    finally:
        await anyio.aclose_forcefully(upstream)


async def _bind(
    network: MemoryNetwork, address: Address, handshake: ServerHandshake, client: Line, trouble: Trouble | None
) -> None:
    """Open a port at the hop's own address, and tell both replies, but for the one with the trouble."""
    port = Address(address.host, 50001 + len(network.ports))
    listener = network.ports[port] = MemoryListener(network, port)
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED, port))
    if trouble and trouble.step == State.REQUEST:
        await _commit(trouble, client, handshake.data_to_send())
        return
    await client.send(handshake.data_to_send())
    if trouble and trouble.step == State.SECOND_REPLY:
        handshake.send_reply(Reply(ReplyCode.SUCCEEDED, Address("192.0.2.80", 20)))
        await trio.sleep(1)  # a reset would overtake the first reply
        await _commit(trouble, client, handshake.data_to_send())
        return
    upstream, peer = await listener.accept()
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED, peer))
    await client.send(handshake.data_to_send())
    await _relay(client, upstream)


async def _connect(network: MemoryNetwork, handshake: ServerHandshake) -> MemoryStream | None:
    if handshake.request.command in ANSWERS:
        handshake.send_reply(Reply(ReplyCode.SUCCEEDED, ANSWERS[handshake.request.command]))
        return None
    if handshake.request.command is Command.UDP_ASSOCIATE:
        handshake.send_reply(Reply(ReplyCode.SUCCEEDED, RELAY))
        return network.pair("association")[0]  # says nothing, and ends with its client
    try:
        upstream = await network.open_tcp(handshake.request.destination)
    except OSError as error:
        handshake.send_reply(Reply(reply_code_of(explain_connect_error(error)[1], at_destination=True)))
        return None
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
    return upstream


async def _commit(trouble: Trouble, client: Line, answer: bytes) -> None:
    match trouble.fault:
        case Fault.MUTE:
            await trio.sleep_forever()
        case Fault.DRIP:
            for byte in client.seal(answer):
                await trio.sleep(1)
                await client.raw.send(bytes((byte,)))
        case Fault.RESET:
            await trio.testing.wait_all_tasks_blocked()  # what was answered before has been read: see OVERTAKING
            client.raw.reset()
        case Fault.OVERTAKING:
            client.raw.reset()
        case Fault.FIN:
            return
        case Fault.GARBAGE:
            await client.raw.send(GARBAGE)
        case Fault.REFUSAL:
            refusals: dict[str, bytes] = {
                Step.TLS: b"\x05\xff",
                State.METHOD_NEGOTIATION: b"\x05\xff",
                State.SUB_NEGOTIATION: b"\x01\x01",
                State.GSSAPI_CONTEXT: ABORT,
                State.GSSAPI_PROTECTION: ABORT,
                State.REQUEST: REFUSALS.get(answer[0], b""),
            }
            refusals[State.SECOND_REPLY] = refusals[State.REQUEST]
            await client.send(refusals[trouble.step])
