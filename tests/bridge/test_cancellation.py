"""Cancel each call of the library at each of its awaits: nothing stays open, under asyncio, trio and uvloop.

Once each, and with ``-m measure`` several times: ``CHAINSOCKS_CUTS`` says how often.
"""

from __future__ import annotations

import asyncio
import gc
import os
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import chainsocks
from chainsocks import Chain, Hop
from tests.background import PATIENCE, wait_until
from tests.bridge.conftest import World
from tests.certificates import authority

Call = Callable[[World], Coroutine[Any, Any, None]]

FILES = Path("/proc/self/fd")


@types.coroutine
def cut(call: Awaitable[None], at: int, scope: anyio.CancelScope) -> Generator[Any, Any, int]:
    """Await `call`, and cancel `scope` when it suspends for the time number `at`; return how often it has suspended."""
    steps = call.__await__()
    suspended, value, error = 0, None, None
    while True:
        try:
            waits_for = steps.throw(error) if error else steps.send(value)
        except StopIteration:
            return suspended
        suspended += 1
        if suspended == at:
            scope.cancel()
        value = error = None
        try:
            value = yield waits_for
        except BaseException as thrown:  # noqa: BLE001  (it is passed on)
            error = thrown


async def connect_tcp(world: World) -> None:
    await (await chainsocks.connect_tcp(world.echo.host, world.echo.port, chain=world.plain)).aclose()


async def connect_tls(world: World) -> None:
    mute = world.mute
    with pytest.raises(chainsocks.DialTimeout):
        await chainsocks.connect_tcp(mute.host, mute.port, chain=world.plain, tls=authority().client(), timeout=0.2)


async def connect_secured(world: World) -> None:
    await (await chainsocks.connect_tcp(world.echo.host, world.echo.port, chain=world.secured)).aclose()


async def connect_over(world: World) -> None:
    [first, *_] = world.plain.hops
    assert isinstance(first, Hop)
    over = await anyio.connect_tcp(first.address.host, first.address.port)
    await (await chainsocks.connect_tcp(world.echo.host, world.echo.port, chain=world.plain, over=over)).aclose()


async def connect_socket(world: World) -> None:
    (await chainsocks.connect_socket(world.echo.host, world.echo.port, chain=world.plain)).close()


async def bind_tcp(world: World) -> None:
    await (await chainsocks.bind_tcp("127.0.0.1", chain=world.plain)).aclose()


async def resolve(world: World) -> None:
    chain = Chain(*(Hop(hop.name, "socks5", hop.address, tor=True) for hop in hops(world)))
    assert await chainsocks.resolve("localhost", chain=chain)


async def open_udp(world: World) -> None:
    chain = Chain(*(f"socks5://{hop.address}" for hop in hops(world)))
    async with await chainsocks.open_udp(chain=chain) as association:
        await association.sendto(b"hello", "127.0.0.1", 9)
        with anyio.move_on_after(0.001):
            await association.receive()


async def open_trio_stream(world: World) -> None:
    await (await chainsocks.open_trio_stream(world.echo.host, world.echo.port, chain=world.plain)).aclose()


async def open_connection(world: World, way: str) -> None:
    _, writer = await chainsocks.open_connection(world.echo.host, world.echo.port, chain=getattr(world, way))
    writer.close()


async def create_datagram_endpoint(world: World) -> None:
    chain = Chain(*(f"socks5://{hop.address}" for hop in hops(world)))
    lost = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.DatagramProtocol):
        def connection_lost(self, error: Exception | None) -> None:
            lost.set_result(error)

    transport, _ = await chainsocks.create_datagram_endpoint(Protocol, chain=chain)
    transport.close()
    await asyncio.shield(lost)


async def serve(world: World) -> None:
    async with chainsocks.serve(world.plain):
        await anyio.lowlevel.checkpoint()


async def forward(world: World) -> None:
    async with chainsocks.forward(world.echo.host, world.echo.port, chain=world.plain):
        await anyio.lowlevel.checkpoint()


def hops(world: World) -> list[Hop]:
    return [hop for hop in world.plain.hops if isinstance(hop, Hop)]


EVERYWHERE: dict[str, Call] = {
    each.__name__: each
    for each in (
        connect_tcp,
        connect_tls,
        connect_secured,
        connect_over,
        connect_socket,
        bind_tcp,
        resolve,
        open_udp,
        serve,
        forward,
    )
}
ASYNCIO: dict[str, Call] = {
    "open_connection": partial(open_connection, way="plain"),
    "open_connection_secured": partial(open_connection, way="secured"),
    "create_datagram_endpoint": create_datagram_endpoint,
}
TRIO: dict[str, Call] = {"open_trio_stream": open_trio_stream}

CASES = [
    pytest.param(loop, call, id=f"{loop}-{name}")
    for loop, more in (("asyncio", ASYNCIO), ("uvloop", ASYNCIO), ("trio", TRIO))
    for name, call in {**EVERYWHERE, **more}.items()
]


def files() -> int:
    return len([*FILES.iterdir()])


async def cut_everywhere(world: World, call: Call, times: int) -> int:
    """Cut a call at each await, so many times; return at how many."""
    with anyio.fail_after(PATIENCE * times):
        for at in count(1):
            for _ in range(times):
                suspended = 0
                with anyio.CancelScope() as scope:
                    suspended = await cut(call(world), at, scope)
                if suspended and suspended < at:
                    return at - 1
    raise AssertionError("it never comes to an end")


def check(world: World, loop: str, call: Call, times: int) -> None:
    options = {}
    if loop == "uvloop":
        pytest.importorskip("uvloop")
        options = {"use_uvloop": True}
    run = partial(anyio.run, backend="trio" if loop == "trio" else "asyncio", backend_options=options)
    run(call, world)  # what is loaded and opened once
    gc.collect()
    before = files() if FILES.exists() else 0
    assert run(cut_everywhere, world, call, times) >= 1
    gc.collect()  # warns of what was not closed, and a warning is an error
    if FILES.exists():
        wait_until(lambda: files() <= before)


@pytest.mark.parametrize(("loop", "call"), CASES)
def test_a_cut_call_leaves_nothing_open(world: World, loop: str, call: Call) -> None:
    check(world, loop, call, 1)


@pytest.mark.measure
@pytest.mark.parametrize(("loop", "call"), CASES)
def test_so_do_many_at_each_await(world: World, loop: str, call: Call) -> None:
    check(world, loop, call, int(os.environ.get("CHAINSOCKS_CUTS", "5")))
