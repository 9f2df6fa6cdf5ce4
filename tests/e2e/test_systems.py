"""Our server and library on systems without splice, epoll or flags of socket(2): every command, through two hops."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import sys
from collections.abc import Iterator

import anyio
import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

import chainsocks
from chainsocks import Address, Chain
from chainsocks.network import reset_on_close
from tests.background import PATIENCE, Background, running_background
from tests.net.sockets import read_all
from tests.systems import SYSTEMS, System

MUCH = random.Random(0).randbytes(5 * 1024 * 1024 + 1)


@pytest.fixture(params=[pytest.param(system, id=system.name) for system in SYSTEMS])
def background(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Background]:
    system: System = request.param
    system.become(monkeypatch)
    with running_background() as background:
        yield background


@pytest.fixture
def chain(background: Background) -> Chain:
    return Chain(*(f"socks5://{background.proxy()}" for _ in range(2)))


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def digest(stream: trio.SocketStream) -> None:
    """Answer the end of what is said by its digest."""
    hashed = hashlib.sha256()
    async for data in stream:
        hashed.update(data)
    await stream.send_all(hashed.digest())


async def test_bytes_both_ways_at_once(background: Background, chain: Chain) -> None:
    there = await trio.to_thread.run_sync(background.listen, echo)
    async with await chainsocks.connect_tcp(there.host, there.port, chain=chain) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"

        async def say() -> None:
            await stream.send(MUCH)
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            assert await read_all(stream) == MUCH


async def test_an_end_is_passed_on_and_the_answer_comes_back(background: Background, chain: Chain) -> None:
    there = await trio.to_thread.run_sync(background.listen, digest)
    async with await chainsocks.connect_tcp(there.host, there.port, chain=chain) as stream:
        await stream.send(MUCH)
        await stream.send_eof()
        assert await read_all(stream) == hashlib.sha256(MUCH).digest()


async def test_many_sessions_at_once(background: Background, chain: Chain) -> None:
    there = await trio.to_thread.run_sync(background.listen, echo)

    async def talk(number: int) -> None:
        async with await chainsocks.connect_tcp(there.host, there.port, chain=chain) as stream:
            for _ in range(20):
                await stream.send(b"%d" % number)
                assert await stream.receive() == b"%d" % number

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(talk, number)


async def test_a_reset_is_passed_on(background: Background, chain: Chain) -> None:
    ended = trio.lowlevel.current_trio_token()
    outcome: list[type[BaseException] | None] = []
    done = trio.Event()

    async def listen(stream: trio.SocketStream) -> None:
        try:
            await stream.send_all(b"hello")
            await stream.receive_some()
            outcome.append(None)
        except trio.BrokenResourceError as error:
            outcome.append(type(error))
        ended.run_sync_soon(done.set)

    there = await trio.to_thread.run_sync(background.listen, listen)
    stream = await chainsocks.connect_tcp(there.host, there.port, chain=chain)
    await stream.receive()
    reset_on_close(stream)
    await stream.aclose()
    await done.wait()
    assert outcome == [trio.BrokenResourceError]


async def test_a_destination_that_refuses(chain: Chain) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(chainsocks.DialError) as caught:
            await chainsocks.connect_tcp(*nobody.getsockname(), chain=chain)
    assert caught.value.reply_code == 5


async def test_a_bound_port(chain: Chain) -> None:
    async with await chainsocks.bind_tcp("127.0.0.1", chain=chain) as bound, trio.open_nursery() as nursery:

        async def call() -> None:
            async with await anyio.connect_tcp(bound.address.host, bound.address.port) as caller:
                await caller.send(b"knock")
                assert await read_all(caller) == b"KNOCK"

        nursery.start_soon(call)
        async with await bound.accept() as stream:
            await stream.send((await stream.receive()).upper())


async def test_datagrams(chain: Chain) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(PATIENCE)
        there = Address(*peer.getsockname())
        async with await chainsocks.open_udp(chain=chain) as association:
            for number in range(100):
                await association.sendto(b"%d" % number, there.host, there.port)
                data, source = await trio.to_thread.run_sync(peer.recvfrom, 100)
                peer.sendto(data.upper() + b"!", source)
                assert await association.receive() == (b"%d!" % number, (there.host, there.port))


async def test_a_server_that_stops_ends_its_sessions(background: Background, chain: Chain) -> None:
    there = await trio.to_thread.run_sync(background.listen, echo)
    stream = await chainsocks.connect_tcp(there.host, there.port, chain=chain)
    await stream.send(b"hello")
    await stream.receive()
    await trio.to_thread.run_sync(background.stop)
    with pytest.raises((EndOfStream, BrokenResourceError)):
        await stream.receive()
    await stream.aclose()


LACKING = """
import os, select, signal, socket, sys
import anyio, trio
for module in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None
for module, names in {
    os: "EFD_CLOEXEC EFD_NONBLOCK SPLICE_F_MOVE SPLICE_F_NONBLOCK eventfd eventfd_write fork getuid killpg pipe2"
        " sched_getaffinity setsid splice",
    select: "epoll poll",
    signal: "SIGCHLD SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 pthread_sigmask sigtimedwait",
    socket: "AF_UNIX SOCK_CLOEXEC SOCK_NONBLOCK SO_REUSEPORT",
}.items():
    for name in names.split():
        delattr(module, name)
for name in [name for name in dir(select) if name.startswith("EPOLL")]:
    delattr(select, name)
"""
"""Takes away what Windows does not have and trio does not need."""


@pytest.mark.parametrize("module", ["chainsocks", "chainsocks.cli"])
def test_it_loads_without_all_that_only_unix_has(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"{LACKING}\nimport {module}"], check=True)
