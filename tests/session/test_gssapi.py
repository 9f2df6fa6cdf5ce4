"""Clients that come in by GSSAPI, over streams in memory and by a mechanism without secrets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.models import Config, Server, ServerGssapi, Timeouts, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import Rule
from chainsocks.gss.stream import EncapsulatedStream
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import ABORT, MessageType, Protection, encode_message
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Method
from chainsocks.session.connection import Connection
from chainsocks.session.gssapi import accepted_methods
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.mechanism import FakeInitiator, FakeMechanism
from tests.memory import Host, MemoryNetwork, MemoryStream, memory_stream_pair

NONE, INTEGRITY, CONFIDENTIALITY, SELECTIVE = Protection
GSSAPI, PASSWORD, NOTHING = Method.GSSAPI, Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION_REQUIRED
CONTEXT, LEVEL = State.GSSAPI_CONTEXT, State.GSSAPI_PROTECTION
DESTINATION = Address("192.0.2.80", 80)
REQUEST = bytes.fromhex("05 01 00 01 c0000250 0050")
GRANTED = bytes.fromhex("05 00 00 01 00000000 0000")
CAROL = User("carol", PlainPassword(b"open sesame"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeMechanism:
    return FakeMechanism().install(monkeypatch)


@dataclass
class Client:
    """A client, by hand."""

    stream: MemoryStream
    log: pytest.LogCaptureFixture
    context: FakeInitiator = field(default_factory=FakeInitiator)

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def expect(self, wanted: bytes) -> None:
        got = b""
        while len(got) < len(wanted):
            got += await self.stream.receive(len(wanted) - len(got))
        assert got == wanted

    async def expect_end(self) -> None:
        with pytest.raises(EndOfStream):
            await self.stream.receive()

    async def greet(self) -> None:
        await self.send(b"\x05\x01\x01")
        await self.expect(b"\x05\x01")

    async def token(self, kind: MessageType) -> bytes:
        """Take the next message, which is of this kind, and return its token."""
        head = b""
        while len(head) < 4:
            head += await self.stream.receive(4 - len(head))
        assert head[:2] == bytes((1, kind))
        token = b""
        while len(token) < int.from_bytes(head[2:]):
            token += await self.stream.receive(int.from_bytes(head[2:]) - len(token))
        return token

    async def introduce(self) -> None:
        """Establish the context."""
        await self.greet()
        token = await self.context.step(b"")
        while not self.context.complete:
            await self.send(encode_message(MessageType.AUTHENTICATION, token))
            token = await self.context.step(await self.token(MessageType.AUTHENTICATION))

    def level(self, level: bytes) -> bytes:
        return encode_message(MessageType.PROTECTION_LEVEL, self.context.wrap(level, NONE))

    async def agree(self, asked: Protection, granted: Protection | None = None) -> EncapsulatedStream | MemoryStream:
        """Establish the context, ask for a level, and go on with the one that is granted."""
        await self.introduce()
        await self.send(self.level(bytes((asked,))))
        [chosen] = self.context.unwrap(await self.token(MessageType.PROTECTION_LEVEL), NONE)
        assert chosen == (asked if granted is None else granted)
        return EncapsulatedStream(self.stream, self.context, Protection(chosen)) if chosen else self.stream

    @property
    def line(self) -> str:
        """The session's one line in the log."""
        [record] = [record for record in self.log.records if record.levelno == logging.INFO]
        return record.getMessage()


@asynccontextmanager
async def session(
    caplog: pytest.LogCaptureFixture,
    gssapi: ServerGssapi | None = None,
    users: tuple[User, ...] = (),
    rules: tuple[Rule, ...] = (),
) -> AsyncIterator[Client]:
    """Serve one client; at the end of the block its session must have ended too, with nothing left open."""
    caplog.set_level(logging.DEBUG, "chainsocks")
    near, far = memory_stream_pair()
    far.ends = ("192.0.2.100", 1080), ("192.0.2.1", 5555)
    server, timeouts = Server(gssapi=gssapi or ServerGssapi(NONE)), Timeouts(handshake=3, reply=2)
    config = Config(server, timeouts, users=users, rules=rules)
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, {DESTINATION: Host(echo)})
        service = Service(config, Logins(config.users), network)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_session, Connection(far, "192.0.2.1:5555"), service)
            yield Client(near, caplog)
            await near.aclose()
        assert far.closed
        assert network.left_open == []
        handlers.cancel_scope.cancel()
    for record in caplog.records:
        assert " for rcmd@" not in record.getMessage(), "a token"


async def echo(stream: MemoryStream) -> None:
    try:
        while True:
            await stream.send(await stream.receive())
    except EndOfStream:
        await stream.send_eof()


async def exchange(stream: EncapsulatedStream | MemoryStream) -> None:
    """Ask for the destination, with data behind the request, and finish."""
    await stream.send(REQUEST + b"early")
    answer = b""
    while len(answer) < len(GRANTED) + 5:
        answer += await stream.receive()
    assert answer == GRANTED + b"early"
    await stream.send_eof()
    with pytest.raises(EndOfStream):
        await stream.receive()


# --- in ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legs", [0, 2])
@pytest.mark.parametrize("protection", [NONE, INTEGRITY, CONFIDENTIALITY], ids=str)
async def test_a_session_at_each_level(
    protection: Protection, legs: int, fake: FakeMechanism, caplog: pytest.LogCaptureFixture
) -> None:
    fake.legs = legs
    async with session(caplog) as client:
        await exchange(await client.agree(protection))
    assert "client=192.0.2.1:5555 user=gssapi:carol@TEST command=CONNECT destination=192.0.2.80:80 " in client.line
    assert " reply=00 up=5 down=5 " in client.line
    assert 'outcome="finished"' in client.line


@pytest.mark.parametrize(
    ("least", "asked", "granted"),
    [
        (NONE, SELECTIVE, CONFIDENTIALITY),
        (INTEGRITY, NONE, INTEGRITY),
        (INTEGRITY, CONFIDENTIALITY, CONFIDENTIALITY),
        (INTEGRITY, SELECTIVE, CONFIDENTIALITY),
        (CONFIDENTIALITY, NONE, CONFIDENTIALITY),
        (CONFIDENTIALITY, INTEGRITY, CONFIDENTIALITY),
    ],
)
async def test_the_least_that_we_take(
    least: Protection,
    asked: Protection,
    granted: Protection,
    fake: FakeMechanism,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with session(caplog, ServerGssapi(least)) as client:
        await exchange(await client.agree(asked, granted))


@pytest.mark.parametrize("protection", [NONE, INTEGRITY], ids=str)
async def test_one_byte_at_a_time(
    protection: Protection, fake: FakeMechanism, caplog: pytest.LogCaptureFixture
) -> None:
    context = FakeInitiator()
    said = b"\x05\x01\x01" + encode_message(MessageType.AUTHENTICATION, await context.step(b""))
    await context.step(b"welcome")
    said += encode_message(MessageType.PROTECTION_LEVEL, context.wrap(bytes((protection,)), NONE))
    said += encode_message(MessageType.DATA, context.wrap(REQUEST, protection)) if protection else REQUEST
    for at_once in (True, False):
        async with session(caplog) as client:
            for piece in [said] if at_once else [bytes((byte,)) for byte in said]:
                await client.send(piece)
            await client.expect(b"\x05\x01\x01\x01\0\x07welcome\x01\x02")
            await client.stream.send_eof()
        assert "reply=00" in client.line
        caplog.clear()


@pytest.mark.parametrize(
    ("rule", "methods", "picked"),
    [
        (ServerGssapi(), "05 02 00 02", "05 FF"),
        (ServerGssapi(), "05 03 00 01 02", "05 01"),
        (ServerGssapi(required=False), "05 02 00 02", "05 00"),
        (ServerGssapi(required=False), "05 02 00 01", "05 01"),
    ],
)
async def test_which_method_is_picked(
    rule: ServerGssapi, methods: str, picked: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, rule) as client:
        await client.send(bytes.fromhex(methods))
        await client.expect(bytes.fromhex(picked))


def test_which_methods_are_accepted() -> None:
    assert accepted_methods(None, (PASSWORD,)) == (PASSWORD,)
    assert accepted_methods(ServerGssapi(), (NOTHING, PASSWORD)) == (GSSAPI,)
    assert accepted_methods(ServerGssapi(required=False), (PASSWORD,)) == (GSSAPI, PASSWORD)


async def test_users_may_log_in_beside_it(fake: FakeMechanism, caplog: pytest.LogCaptureFixture) -> None:
    rule = ServerGssapi(NONE, required=False)
    async with session(caplog, rule, users=(CAROL,)) as client:
        await client.send(b"\x05\x01\x02")
        await client.expect(b"\x05\x02")
        await client.send(b"\x01\x05carol\x0bopen sesame" + REQUEST)
        await client.expect(b"\x01\0" + GRANTED)
    assert "user=gssapi" not in client.line
    caplog.clear()
    async with session(caplog, rule, users=(CAROL,)) as client:
        await exchange(await client.agree(INTEGRITY))


@pytest.mark.parametrize(("rule", "code"), [(ServerGssapi(), 91), (ServerGssapi(required=False), 90)])
async def test_socks4_has_no_gssapi(rule: ServerGssapi, code: int, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, rule) as client:
        await client.send(bytes.fromhex("04 01 0050 c0000250 00"))
        await client.expect(bytes((0, code, 0, 0, 0, 0, 0, 0)))
        await client.stream.send_eof()


async def test_the_keytab_is_the_one_in_the_configuration(
    fake: FakeMechanism, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, ServerGssapi(NONE, keytab="/keys")) as client:
        await client.introduce()
    assert fake.keytabs == ["/keys"]


@pytest.mark.parametrize(("protection", "code"), [(NONE, 0), (INTEGRITY, 7)], ids=["none", "integrity"])
async def test_datagrams_only_go_where_nothing_was_promised(
    protection: Protection, code: int, fake: FakeMechanism, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog) as client:
        stream = await client.agree(protection)
        await stream.send(bytes.fromhex("05 03 00 01 00000000 0000"))
        assert (await stream.receive())[:2] == bytes((5, code))
    assert ("datagrams would not have the protection" in client.line) is (code == 7)


async def test_rules_know_a_client_by_its_principal(fake: FakeMechanism, caplog: pytest.LogCaptureFixture) -> None:
    eve, carol = frozenset({b"gssapi:eve@TEST"}), frozenset({b"gssapi:carol@TEST"})
    rules = (Rule(1, None, users=eve), Rule(2, "direct", users=carol))
    for user, code in (("carol@TEST", 0), ("eve@TEST", 2)):
        async with session(caplog, rules=rules) as client:
            client.context = FakeInitiator(user=user)
            stream = await client.agree(INTEGRITY)
            await stream.send(REQUEST)
            assert (await stream.receive())[:2] == bytes((5, code))
        caplog.clear()


# --- out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "service", "why"),
    [
        ("eve@TEST", "rcmd", "eve@TEST is not among gssapi_principals"),
        ("carol@OTHER", "rcmd", "carol@OTHER is not among gssapi_principals"),
        ("carol@TEST", "host", "it has a ticket for host, which is not among gssapi_services"),
    ],
)
async def test_who_may_not_come_in_is_told_so(
    user: str, service: str, why: str, fake: FakeMechanism, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, ServerGssapi(principals=("carol@TEST",))) as client:
        client.context = FakeInitiator(user=user, service=service)
        await client.greet()
        await client.send(encode_message(MessageType.AUTHENTICATION, await client.context.step(b"")))
        await client.expect(ABORT)
        await client.expect_end()
    assert "user=gssapi" not in client.line
    assert f'outcome="client, {CONTEXT}: {why}"' in client.line


async def test_no_context_no_entry(fake: FakeMechanism, caplog: pytest.LogCaptureFixture) -> None:
    fake.error = "Keytab is nonexistent or empty"
    async with session(caplog) as client:
        await client.greet()
        await client.send(b"\x01\x01\0\x01x")
        await client.expect(ABORT)
        await client.expect_end()
    assert f'outcome="client, {CONTEXT}: Keytab is nonexistent or empty"' in client.line


@pytest.mark.parametrize("level", [b"", b"\4", b"\xff", b"\1\1"])
async def test_a_level_that_is_none(level: bytes, fake: FakeMechanism, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        await client.introduce()
        await client.send(client.level(level))
        await client.expect(ABORT)
        await client.expect_end()
    assert f"client, {LEVEL}: it asks for a protection level that RFC 1961 does not have" in client.line


async def test_a_level_in_the_clear(fake: FakeMechanism, caplog: pytest.LogCaptureFixture) -> None:
    """So did NEC's reference implementation, and so would somebody in between."""
    async with session(caplog) as client:
        await client.introduce()
        await client.send(b"\x01\x02\0\x01\0")
        await client.expect(ABORT)
    assert f"client, {LEVEL}: a capsule was changed" in client.line


async def test_a_client_that_forgets_its_capsules(fake: FakeMechanism, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, ServerGssapi(INTEGRITY)) as client:
        await client.agree(NONE, INTEGRITY)
        await client.send(REQUEST)
        await client.expect_end()
    assert f'outcome="client, {State.REQUEST}: a GSSAPI message has version 5; RFC 1961 wants 1"' in client.line


async def test_data_that_was_tampered_with_is_no_regular_end(
    fake: FakeMechanism, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog) as client:
        stream = await client.agree(INTEGRITY)
        await stream.send(REQUEST)
        assert await stream.receive() == GRANTED
        client.context.sent += 1
        await stream.send(b"moved")
        with pytest.raises(EndOfStream):
            await client.stream.receive()
    assert 'outcome="reset by the client: a capsule is out of turn"' in client.line


# --- faults of clients ------------------------------------------------------------------------------------------------

HALF = {CONTEXT: b"\x01\x01\0\x50half", LEVEL: b"\x01\x02\0\x50half", State.REQUEST: b"\x01\x03\0\x50half"}

GARBAGE = b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("step", list(HALF))
@pytest.mark.parametrize("said", ["nothing", "half", "drip"])
async def test_a_client_that_is_slow(
    step: State,
    said: str,
    fake: FakeMechanism,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with session(caplog) as client:
        await come_to(client, step)
        try:
            for byte in {"nothing": b"", "half": HALF[step], "drip": HALF[step]}[said]:
                await client.send(bytes((byte,)))
                await trio.sleep(1 if said == "drip" else 0)
            await client.expect_end()
        except BrokenResourceError:
            pass  # the session ended while we were still at it
        assert trio.current_time() == 3
    assert f'outcome="client, {step}: no complete request (within 3 s)"' in client.line


@pytest.mark.parametrize("step", list(HALF))
@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("reset", "it reset the connection"),
        ("end", "the connection was closed during the {step}"),
        ("end within", ""),
        ("garbage", "a GSSAPI message has version 71; RFC 1961 wants 1"),
        ("abort", "it ended the GSSAPI exchange with an abort"),
        ("other", "a GSSAPI message has type 9; expected"),
    ],
)
async def test_a_client_that_fails(
    step: State, fault: str, problem: str, fake: FakeMechanism, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog) as client:
        await come_to(client, step)
        match fault:
            case "reset":
                client.stream.reset()
            case "end":
                await client.stream.send_eof()
            case "end within":
                await client.send(HALF[step])
                await client.stream.send_eof()
            case _:
                await client.send({"garbage": GARBAGE, "abort": ABORT, "other": b"\x01\x09"}[fault])
        if fault in ("garbage", "abort", "other") and step is not State.REQUEST:
            await client.expect(ABORT)
        if fault != "reset":
            await client.stream.aclose()
    if fault == "end within":
        problem = f"the connection was closed during the {step}, 8 bytes into a message"
        if step is State.REQUEST:
            problem = "the stream ended in the middle of a capsule"
    assert f"client, {step}: {problem.format(step=step)}" in client.line


async def come_to(client: Client, step: State) -> None:
    """Do everything right until this step is due."""
    if step is CONTEXT:
        await client.greet()
    elif step is LEVEL:
        await client.introduce()
    else:
        await client.agree(INTEGRITY)


async def test_a_mechanism_that_is_slow(
    fake: FakeMechanism, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    fake.delay = 100
    async with session(caplog) as client:
        await client.greet()
        await client.send(b"\x01\x01\0\x01x")
        await client.expect_end()
        assert trio.current_time() == 3
    assert f'outcome="client, {CONTEXT}: no complete request (within 3 s)"' in client.line
