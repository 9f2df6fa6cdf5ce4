"""TLS over memory streams: bytes both ways, half-close, ends that are none, and certificates that are not accepted."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio
import trio.testing
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.net.pins import pin_of
from chainsocks.net.stream import SocketStream
from chainsocks.net.tls import TlsError, TlsStream, end_and_close
from chainsocks.protocol.errors import Cause
from tests.certificates import NAME, Authority, authority
from tests.memory import memory_stream_pair
from tests.net.sockets import tcp_pair

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


async def shake(*streams: TlsStream) -> None:
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.handshake)


@asynccontextmanager
async def pair(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, capacity: int = 65536
) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    near, far = memory_stream_pair(capacity)
    context = authority().client()
    context.minimum_version = context.maximum_version = version
    client, server = TlsStream(near, context, NAME), TlsStream(far, authority().server(), is_server=True)
    await shake(client, server)
    assert client.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    yield client, server
    assert not client.extra_attributes
    for stream, raw in ((client, near), (server, far)):
        await stream.aclose()
        assert raw.closed


async def read_to_end(stream: ByteStream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive()
    except EndOfStream:
        return data


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 16_384, 16_385, 300_000])
@pytest.mark.parametrize("capacity", [4096, 65536])
async def test_bytes_both_ways_at_once_and_both_ends(version: ssl.TLSVersion, size: int, capacity: int) -> None:
    async with pair(version, capacity) as (client, server):
        got: dict[str, bytes] = {}

        async def send(stream: TlsStream, byte: bytes) -> None:
            await stream.send(byte * size)
            await stream.send_eof()

        async def receive(stream: TlsStream, name: str) -> None:
            got[name] = await read_to_end(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, client, b"c")
            nursery.start_soon(send, server, b"s")
            nursery.start_soon(receive, client, "client")
            nursery.start_soon(receive, server, "server")
        assert got == {"client": b"s" * size, "server": b"c" * size}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_half_close_leaves_the_other_direction_open(version: ssl.TLSVersion) -> None:
    async with pair(version, 1 << 20) as (client, server):
        await client.send(b"question")
        await client.send_eof()
        await client.send_eof()  # once more is no harm
        assert await read_to_end(server) == b"question"
        for _ in range(3):
            await server.send(b"answer" * 10_000)
            assert await client.receive(6) == b"answer"
        await server.send_eof()
        assert len(await read_to_end(client)) == 3 * 60_000 - 3 * 6


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_has_arrived_before_a_half_close_is_not_lost(version: ssl.TLSVersion) -> None:
    async with pair(version, 1 << 20) as (client, server):
        await server.send(b"a" * 200_000)
        assert await client.receive(1) == b"a"
        await client.send_eof()
        await server.send(b"b")
        await server.send_eof()
        assert await read_to_end(client) == b"a" * 199_999 + b"b"


async def test_records_that_have_arrived_come_together_and_an_end_behind_them_after_them() -> None:
    async with pair(capacity=1 << 20) as (client, server):
        await server.send(b"a" * 40_000)
        assert await client.receive() == b"a" * 40_000
        await server.send(b"b" * 40_000)
        assert await client.receive(20_000) == b"b" * 20_000
        await server.send_eof()
        assert await client.receive() == b"b" * 20_000
        with pytest.raises(EndOfStream):
            await client.receive()


async def test_what_is_good_comes_before_what_is_broken() -> None:
    near, far = memory_stream_pair(1 << 20)
    client, server = TlsStream(near, authority().client(), NAME), TlsStream(far, authority().server(), is_server=True)
    await shake(client, server)
    await server.send(b"good")
    await far.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert await client.receive() == b"good"
    for _ in range(2):
        with pytest.raises(TlsError, match="TLS failed"):
            await client.receive()


async def test_an_end_without_close_notify_is_no_end() -> None:
    async with pair() as (client, server):
        await server.send(b"half of it")
        await server.aclose()
        assert await client.receive() == b"half of it"
        with pytest.raises(TlsError, match="the connection ended without TLS's own end") as error:
            await client.receive()
        assert error.value.cause is Cause.CLOSED
        assert client.problem == str(error.value)


async def test_a_changed_byte_breaks_it() -> None:
    near, far = memory_stream_pair()
    client, server = TlsStream(near, authority().client(), NAME), TlsStream(far, authority().server(), is_server=True)
    await shake(client, server)
    await far.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    with pytest.raises(TlsError, match="TLS failed"):
        await client.receive()


@pytest.mark.parametrize("ends", ["ours first", "theirs first", "ours alone"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_an_end_of_all_layers(version: ssl.TLSVersion, ends: str) -> None:
    """Three layers to three hops in a row: those around a stream that has ended both ways end as well."""
    ours, theirs, far = await three_layers(version)
    first, second = (theirs[2], ours[2]) if ends == "theirs first" else (ours[2], theirs[2])
    await first.send_eof()
    assert await read_to_end(second) == b""
    if ends != "ours alone":
        await second.send_eof()
        assert await read_to_end(first) == b""
    await ours[2].aclose()
    for layer in theirs[1::-1]:
        if ends != "ours alone":
            assert await read_to_end(layer) == b""
        else:
            with pytest.raises(BrokenResourceError):
                await read_to_end(layer)
    await far.aclose()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_close_that_is_an_end_of_all_layers(version: ssl.TLSVersion) -> None:
    """The peer could send more, and has no need to."""
    ours, theirs, far = await three_layers(version)
    await theirs[2].send(b"all of it")
    assert await ours[2].receive() == b"all of it"
    await end_and_close(ours[2])
    for layer in reversed(theirs):
        assert await read_to_end(layer) == b""
    await far.aclose()


async def three_layers(version: ssl.TLSVersion) -> tuple[list[TlsStream], list[TlsStream], SocketStream]:
    near, far = map(SocketStream, tcp_pair())
    context = authority().client()
    context.minimum_version = context.maximum_version = version
    ours: list[TlsStream] = []
    theirs: list[TlsStream] = []
    client: ByteStream = near
    server: ByteStream = far
    for _ in range(3):
        client = TlsStream(client, context, NAME)
        server = TlsStream(server, authority().server(), is_server=True)
        await shake(client, server)
        ours.append(client)
        theirs.append(server)
    return ours, theirs, far


async def test_a_reset_stays_a_reset() -> None:
    near, far = memory_stream_pair()
    client, server = TlsStream(near, authority().client(), NAME), TlsStream(far, authority().server(), is_server=True)
    await shake(client, server)
    far.reset()
    with pytest.raises(BrokenResourceError) as error:
        await client.receive()
    assert not isinstance(error.value, TlsError)


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with pair() as (client, server):
        for _ in range(20):
            with trio.move_on_after(0):
                await client.receive()
        await server.send(b"whole")
        assert await client.receive() == b"whole"


# --- certificates


def other() -> ssl.SSLContext:
    return Authority().server()


CERTIFICATES: dict[str, tuple[Callable[[], ssl.SSLContext], Cause, str]] = {
    "another name": (
        lambda: authority().server("lima.example", "192.0.2.1"),
        Cause.CERTIFICATE_NAME,
        r"its certificate is for .*lima\.example.*, and not for paris\.example",
    ),
    "expired": (
        lambda: authority().server(expired=timedelta(days=3, hours=1)),
        Cause.CERTIFICATE_EXPIRED,
        "its certificate expired 3 days ago",
    ),
    "unknown authority": (other, Cause.CERTIFICATE_UNTRUSTED, "its certificate is not trusted: "),
}


@pytest.mark.parametrize(("server", "cause", "says"), CERTIFICATES.values(), ids=CERTIFICATES)
async def test_a_certificate_that_is_not_accepted(
    server: Callable[[], ssl.SSLContext], cause: Cause, says: str
) -> None:
    near, far = memory_stream_pair()
    client, peer = TlsStream(near, authority().client(), NAME), TlsStream(far, server(), is_server=True)
    errors: list[TlsError] = []

    async def expect(stream: TlsStream) -> None:
        with pytest.raises(TlsError) as error:
            await stream.handshake()
        errors.append(error.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, client)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TlsError, match="it ended TLS with the alert: "):
            await peer.handshake()
    [error] = errors
    assert error.cause is cause
    with pytest.raises(TlsError, match=says):
        raise error


def pinned() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("is_right", [True, False])
async def test_a_pin_decides_alone(is_right: bool) -> None:  # noqa: FBT001
    near, far = memory_stream_pair()
    server = TlsStream(far, Authority().server("lima.example", expired=timedelta(days=1)), is_server=True)
    probe = TlsStream(near, pinned(), NAME)
    await shake(probe, server)
    pin = pin_of(probe.certificate)
    near, far = memory_stream_pair()
    server = TlsStream(far, server._object.context, is_server=True)
    client = TlsStream(near, pinned(), NAME, [b"x" * 32, pin if is_right else b"y" * 32])
    if is_right:
        await shake(client, server)
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handshake)
        with pytest.raises(TlsError, match=r"its pin does not match: got sha256/[A-Za-z0-9+/]{43}=$") as error:
            await client.handshake()
    assert error.value.cause is Cause.PIN_MISMATCH


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_certificate_is_wanted(version: ssl.TLSVersion) -> None:
    near, far = memory_stream_pair()
    context = authority().server(asks_clients=True)
    context.maximum_version = version
    client = TlsStream(near, authority().client(), NAME, remedy="show one")
    server = TlsStream(far, context, is_server=True)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def refuse() -> None:
            with pytest.raises(TlsError):
                await server.handshake()

        async def go_on() -> None:
            await client.handshake()
            await client.receive()  # in TLS 1.3 the client is through before the server is

        with pytest.raises(TlsError, match=r"client certificate; show one$|alert: handshake failure"):
            await go_on()


async def test_a_client_certificate_is_shown() -> None:
    near, far = memory_stream_pair()
    shown = authority().issue("carol.example")
    client = TlsStream(near, authority().client(shows=shown), NAME)
    server = TlsStream(far, authority().server(asks_clients=True), is_server=True)
    await shake(client, server)
    assert pin_of(server.certificate)


PEERS = {
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\n\r\n", Cause.HTTP_RESPONSE, "it does not speak TLS; it looks like an HTTP"),
    "SOCKS5": (b"\x05\xff", Cause.SOCKS5, "it does not speak TLS; it looks like SOCKS5"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", Cause.SSH, "it does not speak TLS; it looks like SSH"),
    "garbage": (b"\xde\xad\xbe\xef" * 10, Cause.NOT_SOCKS, "it does not speak TLS"),
    "an end": (b"", Cause.CLOSED, "the connection ended without TLS's own end"),
    "an alert": (b"\x15\x03\x03\x00\x02\x02\x28", Cause.TLS_ALERT, "it ended TLS with the alert: handshake failure"),
}


@pytest.mark.parametrize(("says", "cause", "problem"), PEERS.values(), ids=PEERS)
async def test_a_peer_that_does_not_speak_tls(says: bytes, cause: Cause, problem: str) -> None:
    near, far = memory_stream_pair()
    client = TlsStream(near, authority().client(), NAME)
    if says:
        await far.send(says)
    await far.send_eof()
    with pytest.raises(TlsError, match=problem) as error:
        await client.handshake()
    assert error.value.cause is cause
