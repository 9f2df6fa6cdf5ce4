"""Servers in the program of the caller, under asyncio, trio and uvloop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.to_thread
import pytest

import chainsocks
from chainsocks import Address, Chain
from tests.background import PATIENCE, Script, wait_until
from tests.bridge.conftest import World

Runner = Callable[[Callable[[], Coroutine[Any, Any, object]]], None]


@pytest.fixture(params=["asyncio", "trio", "uvloop"])
def go(request: pytest.FixtureRequest) -> Runner:
    options = {}
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        options = {"use_uvloop": True}

    def run(function: Callable[[], Coroutine[Any, Any, object]]) -> None:
        async def bounded() -> None:
            with anyio.fail_after(PATIENCE):
                await function()

        backend = "trio" if request.param == "trio" else "asyncio"
        anyio.run(bounded, backend=backend, backend_options=options)

    return run


def hear(address: Address, chain: Chain, to: Address) -> bytes:
    """Ask as another program would, in a thread of its own."""
    with chainsocks.sync.connect(to.host, to.port, chain=Chain(f"socks5://{address}", *chain.hops)) as sock:
        return sock.recv(100)


@pytest.mark.parametrize("way", ["plain", "secured"])
def test_a_server(go: Runner, world: World, way: str) -> None:
    async def use() -> None:
        async with chainsocks.serve(getattr(world, way)) as address:
            assert address.host == "127.0.0.1"
            assert await anyio.to_thread.run_sync(hear, address, Chain(), world.echo) == b"220 hello\r\n"
        with pytest.raises(chainsocks.ConnectError):
            await chainsocks.connect_tcp(world.echo.host, world.echo.port, chain=Chain(f"socks5://{address}"))

    go(use)


def test_a_port_that_leads_to_one_destination(go: Runner, world: World) -> None:
    async def use() -> None:
        async with (
            chainsocks.forward(world.echo.host, world.echo.port, chain=world.secured) as address,
            await anyio.connect_tcp(address.host, address.port) as stream,
        ):
            assert await stream.receive() == b"220 hello\r\n"
            await stream.send(b"hello")
            await stream.send_eof()
            assert await stream.receive() == b"HELLO"
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()

    go(use)


def test_leaving_ends_the_sessions_at_once(go: Runner, world: World) -> None:
    script = Script()
    mute = world.background.listen(script)
    opened: list[socket.socket] = []

    async def use() -> None:
        async with chainsocks.forward(mute.host, mute.port, chain=world.plain) as address:
            opened.append(socket.create_connection((address.host, address.port)))
            opened[0].sendall(b"hello")
            assert await anyio.to_thread.run_sync(script.addressed.wait, PATIENCE)

    go(use)
    with opened[0] as sock:
        sock.settimeout(PATIENCE)
        try:
            assert sock.recv(10) == b""
        except ConnectionResetError:
            pass
    assert script.left.wait(PATIENCE)


def test_an_error_in_the_block_is_the_callers(go: Runner, world: World) -> None:
    async def use() -> None:
        with pytest.raises(ZeroDivisionError):
            async with chainsocks.serve(world.plain):
                raise ZeroDivisionError
        with anyio.CancelScope() as scope:
            async with chainsocks.serve(world.plain):
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    go(use)


def test_a_login(go: Runner, world: World) -> None:
    async def use() -> None:
        async with chainsocks.serve(world.plain, login=("alice", "wonderland")) as address:
            chain = Chain(f"socks5://alice:wonderland@{address}")
            async with await chainsocks.connect_tcp(world.echo.host, world.echo.port, chain=chain) as stream:
                assert await stream.receive() == b"220 hello\r\n"
            with pytest.raises(chainsocks.HopAuthenticationError):
                await chainsocks.connect_tcp("a", 1, chain=Chain(f"socks5://{address}"))

    go(use)


def test_an_address_that_is_taken(go: Runner) -> None:
    async def use() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(OSError, match="in use"):
                async with chainsocks.serve(listen=taken.getsockname()):
                    pytest.fail("it runs")
            with pytest.raises(OSError, match="in use"):
                async with chainsocks.forward("a", 1, listen=taken.getsockname()):
                    pytest.fail("it runs")

    go(use)


WRONG: list[tuple[dict[str, object], str]] = [
    ({"listen": "0.0.0.0:0"}, r"listen is 0\.0\.0\.0:0, which other machines can reach; give a login"),
    ({"listen": 7}, "listen is 7"),
    ({"login": "alice"}, "the login is 'alice'; write a pair"),
    ({"login": ("alice", b"x")}, "the password of the login is"),
    ({"timeouts": 7}, "the timeouts are 7"),
]


@pytest.mark.parametrize(("options", "problem"), WRONG)
def test_what_the_arguments_do_not_take(options: dict[str, Any], problem: str) -> None:
    async def use() -> None:
        async with chainsocks.serve(**options):
            pytest.fail("it runs")

    with pytest.raises(ValueError, match=problem):
        asyncio.run(use())


def test_arguments_of_a_port() -> None:
    async def use(chain: Any, listen: str) -> None:
        async with chainsocks.forward("a", 1, chain=chain, listen=listen):
            pytest.fail("it runs")

    with pytest.raises(ValueError, match="the chain is None"):
        asyncio.run(use(None, "127.0.0.1:0"))
    with pytest.raises(ValueError, match="which other machines can reach; give a loopback address"):
        asyncio.run(use(Chain(), "0.0.0.0:0"))


def test_many_at_once(world: World) -> None:
    async def use() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(one)

    async def one() -> None:
        async with chainsocks.forward(world.echo.host, world.echo.port) as address:
            stream = await anyio.connect_tcp(address.host, address.port)
            async with stream:
                assert await stream.receive() == b"220 hello\r\n"

    asyncio.run(use())
    wait_until(lambda: len([each for each in threading.enumerate() if each.name == "chainsocks"]) == 1)
