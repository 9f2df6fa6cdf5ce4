"""Clients of a listener with TLS, over streams in memory: who they are, what else is said, and silence."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server, ServerGssapi, Timeouts, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import Rule
from chainsocks.config.tls import ListenerTls
from chainsocks.net.tls import TlsError, TlsStream
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Protection
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from chainsocks.session.tls import certificate_name
from tests.certificates import NAME, Authority, authority
from tests.memory import Host, MemoryNetwork, MemoryStream, memory_stream_pair
from tests.session.serving import DESTINATION, LOGIN, echo

REQUEST5 = bytes.fromhex("05 01 00 05 01 00 01 c0000250 0050")
GRANTED5 = bytes.fromhex("05 00 05 00 00 01 00000000 0000")
USER = (User("carol", PlainPassword(b"open sesame")),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority().write(folder, NAME)
    return folder


@dataclass
class Client:
    raw: MemoryStream
    network: MemoryNetwork
    log: pytest.LogCaptureFixture

    async def tls(self, context: ssl.SSLContext | None = None) -> TlsStream:
        stream = TlsStream(self.raw, context or authority().client(), NAME)
        await stream.handshake()
        return stream

    @property
    def line(self) -> str:
        [record] = [record for record in self.log.records if record.levelno == logging.INFO]
        return record.getMessage()


@asynccontextmanager
async def session(
    caplog: pytest.LogCaptureFixture,
    folder: Path,
    client_ca: bool = False,  # noqa: FBT001, FBT002
    users: tuple[User, ...] = (),
    rules: tuple[Rule, ...] = (),
    gssapi: ServerGssapi | None = None,
) -> AsyncIterator[Client]:
    caplog.set_level(logging.INFO, "chainsocks")
    near, far = memory_stream_pair()
    far.ends = ("192.0.2.100", 1443), ("192.0.2.1", 5555)
    tls = ListenerTls(str(folder / "server.pem"), client_ca=str(folder / "ca.pem") if client_ca else None)
    listener = Listener(Address("192.0.2.100", 1443), tls=tls)
    server = Server((listener,), gssapi=gssapi)
    config = Config(server, Timeouts(handshake=3, reply=2), users=users, rules=rules)
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, {DESTINATION: Host(echo)})
        service = Service(config, Logins(config.users), network)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_session, Connection(far, "192.0.2.1:5555", "192.0.2.1", listener), service)
            yield Client(near, network, caplog)
            await near.aclose()
        assert far.closed
        assert network.left_open == []
        handlers.cancel_scope.cancel()


async def expect(stream: TlsStream, wanted: bytes) -> None:
    got = b""
    while len(got) < len(wanted):
        got += await stream.receive(len(wanted) - len(got))
    assert got == wanted


async def read_to_end(stream: MemoryStream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive()
    except EndOfStream:
        return data


async def converse(stream: TlsStream) -> None:
    """Go the whole way to the destination and back, with a half-close."""
    await stream.send(REQUEST5)
    await expect(stream, GRANTED5)
    await stream.send(b"hello" * 5000)
    await expect(stream, b"hello" * 5000)
    await stream.send_eof()
    with pytest.raises(EndOfStream):
        await stream.receive()


async def test_socks5_in_tls(caplog: pytest.LogCaptureFixture, folder: Path) -> None:
    async with session(caplog, folder) as client:
        await converse(await client.tls())
    assert " reply=00 up=25000 down=25000 " in client.line
    assert 'outcome="finished"' in client.line


async def test_http_in_tls(caplog: pytest.LogCaptureFixture, folder: Path) -> None:
    async with session(caplog, folder) as client:
        stream = await client.tls()
        await stream.send(b"CONNECT 192.0.2.80:80 HTTP/1.1\r\nHost: 192.0.2.80:80\r\n\r\nearly")
        await expect(stream, b"HTTP/1.1 200 ")
    assert " command=CONNECT destination=192.0.2.80:80 " in client.line


@pytest.mark.parametrize("users", [(), USER], ids=["no users", "users"])
@pytest.mark.parametrize("gssapi", [None, ServerGssapi(Protection.NONE)], ids=["", "gssapi"])
@pytest.mark.parametrize("login", [b"", LOGIN], ids=["", "login"])
async def test_a_certificate_is_enough(
    caplog: pytest.LogCaptureFixture,
    folder: Path,
    users: tuple[User, ...],
    gssapi: ServerGssapi | None,
    login: bytes,
) -> None:
    rules = (Rule(1, "direct", users=frozenset({b"cert:carol"})), Rule(2, None))
    carol = authority().ca.issue_cert("carol.example", common_name="carol")
    async with session(caplog, folder, client_ca=True, users=users, rules=rules, gssapi=gssapi) as client:
        stream = await client.tls(authority().client(shows=carol))
        if login:
            await stream.send(b"\x05\x01\x02" + login.replace(b"sesame", b"Sesame") + REQUEST5[3:])
            await expect(stream, b"\x05\x02\x01\x00" + GRANTED5[2:])
        else:
            await converse(stream)
    assert " user=cert:carol " in client.line
    assert " reply=00 " in client.line


async def test_socks4_with_a_certificate(caplog: pytest.LogCaptureFixture, folder: Path) -> None:
    async with session(caplog, folder, client_ca=True, users=USER) as client:
        stream = await client.tls(authority().client(shows=authority().issue("carol.example")))
        await stream.send(bytes.fromhex("04 01 0050 c0000250 00"))
        await expect(stream, bytes.fromhex("00 5a 0000 00000000"))
    assert " user=cert:carol.example " in client.line


async def test_without_client_ca_a_login_is_required_as_elsewhere(
    caplog: pytest.LogCaptureFixture, folder: Path
) -> None:
    async with session(caplog, folder, users=USER) as client:
        stream = await client.tls()
        await stream.send(REQUEST5)
        await expect(stream, b"\x05\xff")
    assert "accepts username and password (02)" in client.line


async def test_udp_is_refused(caplog: pytest.LogCaptureFixture, folder: Path) -> None:
    async with session(caplog, folder) as client:
        stream = await client.tls()
        await stream.send(bytes.fromhex("05 01 00 05 03 00 01 00000000 0000"))
        await expect(stream, bytes.fromhex("05 00 05 07"))
    assert "datagrams would go in the clear beside the TLS of this listener" in client.line


@pytest.mark.parametrize(
    ("shows", "says"),
    [
        (None, "it showed no certificate, and one is required"),
        (Authority, "its certificate is not trusted: "),
    ],
    ids=["none", "another authority"],
)
async def test_a_certificate_that_is_not_accepted(
    caplog: pytest.LogCaptureFixture, folder: Path, shows: type[Authority] | None, says: str
) -> None:
    async with session(caplog, folder, client_ca=True) as client:
        shown = shows().issue("carol.example") if shows else None
        stream = await client.tls(authority().client(shows=shown))
        with pytest.raises(TlsError, match=r"requires a client certificate|alert: unknown ca"):
            await stream.receive()
    assert f'outcome="client, TLS handshake: {says}' in client.line
    assert " chain=- reply=- " in client.line


async def test_a_certificate_with_two_names_is_nobody(caplog: pytest.LogCaptureFixture, folder: Path) -> None:
    async with session(caplog, folder, client_ca=True) as client:
        shown = authority().issue("carol.example", "dave.example")
        stream = await client.tls(authority().client(shows=shown))
        with pytest.raises((EndOfStream, BrokenResourceError)):
            await stream.receive()
    assert "client, TLS handshake: its certificate has no name, or several" in client.line


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"subject": ((("organizationName", "x"),), (("commonName", "carol"),))}, "carol"),
        ({"subject": ((("commonName", "carol"), ("commonName", "dave")),)}, None),
        ({"subject": ((("commonName", ""),),)}, None),
        ({"subject": (), "subjectAltName": (("email", "carol@example.org"),)}, "carol@example.org"),
        ({"subject": ((("commonName", "carol"),),), "subjectAltName": (("DNS", "dave"),)}, "carol"),
        ({"subjectAltName": (("DNS", "carol"), ("DNS", "dave"))}, None),
        ({}, None),
    ],
)
def test_which_name_counts(fields: dict[str, object], name: str | None) -> None:
    assert certificate_name(fields) == name


OTHERS = {
    "SOCKS5": (b"\x05\x01\x00", "it does not speak TLS; it looks like SOCKS5 "),
    "SOCKS4": (b"\x04\x01\x00", "it does not speak TLS; it looks like SOCKS4 "),
    "HTTP": (b"GET / HTTP/1.1\r\n", "it does not speak TLS; it looks like HTTP ('GET / HTTP/1.1"),
    "garbage": (b"\xde\xad", "it does not speak TLS; it looks like no known protocol"),
    "an end": (b"", "it left without a word"),
    "a piece": (b"\x16\x03\x01\x02\x00\x01", "the connection ended without TLS's own end (close_notify)"),
}


@pytest.mark.parametrize(("sends", "says"), OTHERS.values(), ids=OTHERS)
async def test_a_client_that_does_not_speak_tls(
    caplog: pytest.LogCaptureFixture, folder: Path, sends: bytes, says: str
) -> None:
    async with session(caplog, folder) as client:
        if sends:
            await client.raw.send(sends)
        if says.startswith(("it left", "the connection")):
            await client.raw.send_eof()
        assert (await read_to_end(client.raw))[:1] in (b"", b"\x15")  # no answer but TLS's own
    assert f'outcome="client, TLS handshake: {says}' in client.line


@pytest.mark.parametrize("sends", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_silent_client_has_the_time_for_its_request(
    caplog: pytest.LogCaptureFixture, folder: Path, autojump_clock: object, sends: bytes
) -> None:
    began = trio.current_time()
    async with session(caplog, folder) as client:
        if sends:
            await client.raw.send(sends)
        with pytest.raises((EndOfStream, BrokenResourceError)):
            await client.raw.receive()
        assert trio.current_time() - began == 3
    assert 'outcome="client, TLS handshake: no complete request (within 3 s)"' in client.line


async def test_the_time_goes_on_behind_tls(
    caplog: pytest.LogCaptureFixture, folder: Path, autojump_clock: object
) -> None:
    began = trio.current_time()
    async with session(caplog, folder) as client:
        await trio.sleep(2)
        stream = await client.tls()
        with pytest.raises((EndOfStream, BrokenResourceError)):
            await stream.receive()
        assert trio.current_time() - began == 3
    assert 'outcome="client, first byte: no complete request (within 3 s)"' in client.line
