"""asyncio's own streams and transports through a chain, under asyncio and uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
import trio

import chainsocks
from chainsocks import Address, Chain
from chainsocks.errors import Cause, Place, Step
from tests.background import PATIENCE, Script
from tests.bridge.conftest import World
from tests.certificates import authority

ResultT = TypeVar("ResultT")
Runner = Callable[[Coroutine[Any, Any, ResultT]], ResultT]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    if request.param == "uvloop":
        made: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip("uvloop").new_event_loop
        return made
    return asyncio.new_event_loop


@pytest.fixture
def go(loop: Callable[[], asyncio.AbstractEventLoop]) -> Runner[Any]:
    def run(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(asyncio.wait_for(coroutine, PATIENCE))

    return run


async def talk(chain: Chain, address: Address) -> bytes:
    reader, writer = await chainsocks.open_connection(address.host, address.port, chain=chain, timeout=PATIENCE)
    heard = await reader.readline()
    writer.write(b"x" * 1_000_000)
    writer.write_eof()
    heard += await reader.read()
    writer.close()
    await writer.wait_closed()
    return heard


@pytest.mark.parametrize("kind", ["direct", "plain", "secured"])
def test_streams(go: Runner[Any], world: World, kind: str) -> None:
    chain = getattr(world, kind, chainsocks.DIRECT)
    assert go(talk(chain, world.echo)) == b"220 hello\r\n" + b"X" * 1_000_000


class Collector(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(error)


def test_a_transport_and_a_protocol(go: Runner[Any], world: World) -> None:
    async def use() -> bytes:
        transport, protocol = await chainsocks.create_connection(
            Collector, world.echo.host, world.echo.port, chain=world.plain
        )
        transport.write(b"hello")
        transport.write_eof()
        assert await protocol.ended is None
        return protocol.heard

    assert go(use()) == b"220 hello\r\nHELLO"


@pytest.fixture(scope="module")
def site(world: World) -> Address:
    async def greet(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, authority().server("site.example"), server_side=True)
        try:
            await secured.send_all(b"220 secured\r\n")
            await secured.aclose()
        except trio.BrokenResourceError:
            pass  # it does not like the certificate

    return world.background.listen(greet)


@pytest.mark.parametrize("kind", ["plain", "secured"])
def test_tls_with_the_destination(go: Runner[Any], world: World, site: Address, kind: str) -> None:
    async def use(name: str, **options: Any) -> bytes:
        reader, writer = await chainsocks.open_connection(
            site.host, site.port, chain=getattr(world, kind), tls=authority().client(), server_hostname=name, **options
        )
        heard = await reader.read()
        writer.close()
        return heard

    assert go(use("site.example")) == b"220 secured\r\n"
    with pytest.raises(chainsocks.DestinationTlsError) as caught:
        go(use("other.example"))
    assert caught.value.place == Place(None, site, Step.TLS)
    assert caught.value.cause is Cause.CERTIFICATE_NAME
    assert "its certificate is not accepted: Hostname mismatch" in str(caught.value)


@pytest.mark.parametrize(
    ("script", "cause", "problem"),
    [
        (Script(b"220 hello\r\n"), Cause.TLS_FAILED, r"TLS failed: (wrong version number|record layer failure)"),
        (Script(b""), Cause.CLOSED, "the connection ended"),
        (Script(), Cause.TIMED_OUT, "no complete answer"),
    ],
    ids=["no TLS", "hangs up", "mute"],
)
def test_tls_that_fails(go: Runner[Any], world: World, script: Script, cause: Cause, problem: str) -> None:
    address = world.background.listen(script)

    async def use() -> None:
        await chainsocks.open_connection(address.host, address.port, tls=True, timeout=0.3)

    with pytest.raises(chainsocks.DialError, match=problem) as caught:
        go(use())
    assert caught.value.cause is cause
    assert isinstance(caught.value, chainsocks.DialTimeout) is (cause is Cause.TIMED_OUT)
    assert script.left.wait(PATIENCE)


@pytest.mark.parametrize("name", ["open_connection", "create_connection"])
def test_arguments(go: Runner[Any], name: str) -> None:
    async def use(**options: Any) -> None:
        if name == "open_connection":
            await chainsocks.open_connection("127.0.0.1", 9, **options)
        else:
            await chainsocks.create_connection(asyncio.Protocol, "127.0.0.1", 9, **options)

    for options, problem in (
        ({"chain": None}, "the chain is None"),
        ({"timeout": "5"}, "the timeout is '5'"),
        ({"timeouts": 5}, "the timeouts are 5"),
        ({"tls": 7}, "tls is 7"),
        ({"isolation": "a"}, "no hop of the chain isolates"),
    ):
        with pytest.raises(ValueError, match=problem):
            go(use(**options))


@pytest.mark.parametrize("kind", ["plain", "secured"])
def test_a_dial_that_fails_names_the_hop(go: Runner[Any], world: World, kind: str) -> None:
    chain = Chain(*getattr(world, kind).hops[:2], "socks5://127.0.0.1:1")

    async def use() -> None:
        await chainsocks.open_connection("far.example", 9, chain=chain)

    with pytest.raises(chainsocks.HopRefused, match=r"\(2 of 3\) .* could not reach 127\.0\.0\.1:1"):
        go(use())
