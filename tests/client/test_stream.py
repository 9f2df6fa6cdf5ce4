"""The stream of `connect_tcp`: what it tells of the way, and TLS to the destination."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import pytest
import trio
from anyio import ClosedResourceError, EndOfStream
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import chainsocks
from chainsocks import Address, Chain, Group, Timeouts
from chainsocks.errors import Place, Step
from chainsocks.protocol.errors import Cause
from tests.background import PATIENCE, Background, Script, wait_until
from tests.certificates import authority
from tests.client.running import run

SITE = "site.example"


class Secured:
    """A destination that speaks TLS, says everything back in capitals, and remembers how connections ended."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.ends: list[str] = []

    async def __call__(self, stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, self._context, server_side=True)
        try:
            while data := await secured.receive_some():
                await secured.send_all(data.upper())
        except trio.BrokenResourceError as error:
            self.ends.append(type(error.__cause__).__name__)
        else:
            self.ends.append("close_notify")
            await secured.aclose()


@pytest.fixture(scope="module")
def site(background: Background) -> Address:
    context = authority().server(SITE, "127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return background.listen(Secured(context))


@pytest.fixture(scope="module")
def hops(background: Background) -> list[str]:
    return [f"socks5://{background.proxy()}" for _ in range(3)]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_tls_with_the_destination_in_one_call(backend: str, site: Address, hops: Sequence[str], count: int) -> None:
    context = authority().client()
    context.set_alpn_protocols(["http/1.1"])

    async def go() -> None:
        stream = await chainsocks.connect_tcp(site.host, site.port, chain=Chain(*hops[:count]), tls=context)
        async with stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"HELLO"
            assert stream.extra(TLSAttribute.alpn_protocol) == "http/1.1"
            assert stream.extra(TLSAttribute.tls_version) == "TLSv1.3"
            assert stream.extra(TLSAttribute.ssl_object).server_hostname == "127.0.0.1"
            assert stream.extra(TLSAttribute.peer_certificate)
            assert stream.extra(TLSAttribute.peer_certificate_binary)
            assert not stream.extra(TLSAttribute.server_side)
            assert stream.extra(TLSAttribute.standard_compatible)
            assert stream.extra(TLSAttribute.cipher)
            assert stream.extra(SocketAttribute.raw_socket).fileno() >= 0
            await stream.send_eof()
            with pytest.raises(EndOfStream):
                await stream.receive()

    run(backend, go)


def test_closing_says_so_in_tls(backend: str, background: Background) -> None:
    secured = Secured(authority().server(SITE))
    address = background.listen(secured)

    async def go() -> None:
        async with await chainsocks.connect_tcp(
            address.host, address.port, tls=authority().client(), server_hostname=SITE
        ) as stream:
            await stream.send(b"hello")
            await stream.receive()
        await stream.aclose()  # a second time does nothing
        with pytest.raises(ClosedResourceError):
            await stream.receive()

    run(backend, go)
    wait_until(lambda: secured.ends == ["close_notify"])


def test_a_certificate_for_another_name(backend: str, site: Address, hops: Sequence[str]) -> None:
    async def go() -> None:
        await chainsocks.connect_tcp(
            site.host, site.port, chain=Chain(hops[0]), tls=authority().client(), server_hostname="other.example"
        )

    with pytest.raises(chainsocks.DestinationTlsError) as caught:
        run(backend, go)
    error = caught.value
    assert error.place == Place(None, site, Step.TLS)
    assert (error.cause, error.at_destination, error.limit) == (Cause.CERTIFICATE_NAME, True, 10)
    assert str(error).startswith(
        f"destination {site}, TLS handshake: its certificate is for {SITE}, 127.0.0.1, and not for other.example ("
    )


def test_an_authority_that_this_machine_does_not_trust(backend: str, site: Address) -> None:
    async def go() -> None:
        await chainsocks.connect_tcp(site.host, site.port, tls=True)

    with pytest.raises(chainsocks.DestinationTlsError, match="its certificate is not trusted"):
        run(backend, go)


@pytest.mark.parametrize("timeout", [None, 0.2])
def test_a_destination_that_never_answers_the_handshake(
    backend: str, background: Background, timeout: float | None
) -> None:
    script = Script()
    mute = background.listen(script)

    async def go() -> None:
        limits = Timeouts(hop=0.1 if timeout is None else 10)
        await chainsocks.connect_tcp(mute.host, mute.port, tls=True, timeout=timeout, timeouts=limits)

    with pytest.raises(chainsocks.DialTimeout) as caught:
        run(backend, go)
    assert caught.value.place == Place(None, mute, Step.TLS)
    assert caught.value.problem == "no complete answer"
    assert 0 < caught.value.limit <= (timeout or 0.1)
    assert script.left.wait(PATIENCE), "its connection stays open"


def test_a_destination_that_speaks_no_tls_or_hangs_up(backend: str, background: Background) -> None:
    for answer, problem in (
        (b"220 hello\r\n", "it does not speak TLS; it"),
        (b"", "the connection ended without TLS's own end"),
    ):
        address = background.listen(Script(answer))

        async def go(address: Address = address) -> None:
            await chainsocks.connect_tcp(address.host, address.port, tls=True)

        with pytest.raises(chainsocks.DestinationTlsError, match=problem):
            run(backend, go)


def test_the_way(backend: str, site: Address, hops: Sequence[str]) -> None:
    first = chainsocks.Hop("first", "socks5", hops[0].removeprefix("socks5://"))
    dead = chainsocks.Hop("dead", "socks5", "127.0.0.1:1")
    second = chainsocks.Hop("second", "socks5", hops[1].removeprefix("socks5://"))

    async def go() -> None:
        chain = Chain(first, Group(second, dead))
        async with await chainsocks.connect_tcp(site.host, site.port, chain=chain) as stream:
            assert str(stream.route) == "first -> second"
            assert stream.hops == (first, second)
            assert stream.bound.host == "127.0.0.1"
        async with await chainsocks.connect_tcp(site.host, site.port) as stream:
            assert (str(stream.route), stream.hops) == ("direct", ())
            assert stream.bound == Address(*stream.extra(SocketAttribute.local_address))

    run(backend, go)


def test_the_address_that_a_connection_leaves_from(backend: str, background: Background) -> None:
    async def say_from_where(stream: trio.SocketStream) -> None:
        await stream.send_all(stream.socket.getpeername()[0].encode())

    address = background.listen(say_from_where)

    async def go(local_host: str) -> bytes:
        async with await chainsocks.connect_tcp(address.host, address.port, local_host=local_host) as stream:
            return await stream.receive()

    assert run(backend, go, "127.0.0.7") == b"127.0.0.7"
    with pytest.raises(chainsocks.ConnectError, match=r"source ::1: of another family than 127\.0\.0\.1:"):
        run(backend, go, "::1")
    with pytest.raises(ValueError, match="write an IP address of this machine"):
        run(backend, go, "localhost")


WRONG: list[tuple[dict[str, object], str]] = [
    ({"tls": "yes"}, "tls is 'yes'; write tls=True, or an ssl.SSLContext"),
    ({"tls": 1}, "tls is 1; write tls=True"),
    ({"server_hostname": "a"}, "server_hostname is given, and no TLS; write tls=True"),
    ({"tls": True, "server_hostname": b"a"}, "server_hostname is a value of type bytes; write a text"),
    ({"isolation": "a"}, "isolation is given, and no hop of the chain isolates; give a hop isolate="),
]


@pytest.mark.parametrize(("options", "problem"), WRONG)
def test_what_the_keywords_do_not_take(backend: str, options: dict[str, object], problem: str) -> None:
    async def go() -> None:
        await chainsocks.connect_tcp("127.0.0.1", 9, **options)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="^" + problem.replace("(", r"\(")):
        run(backend, go)
