"""The server on real loopback sockets. Clients are mostly ones that greet and then say nothing: a session each."""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from anyio import BrokenResourceError
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT, OPEN
from chainsocks.config.choices import NamesOnly
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.models import Config
from chainsocks.config.rules import Rule
from chainsocks.errors import Place
from chainsocks.protocol.address import Address, parse_address
from chainsocks.server.reload import Read, Reading
from chainsocks.server.serve import OneProcess, serve, serve_until_signalled
from chainsocks.server.server import Server, open_server
from tests.net.sockets import LOOPBACK, LOOPBACK6, descriptors, needs_ipv6, read_all, read_exactly
from tests.observe.recorded import RecordedEvents
from tests.server.serving import (
    ANY_PORT,
    config_of,
    connect,
    echoing,
    greet,
    open_session,
    said,
    serving,
)

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture

HOUR = 3600


def unread() -> Reading:
    """Fail: the configuration is not to be read."""
    pytest.fail("it is read")


# --- listening


async def test_port_0_is_told_as_the_port_that_it_became(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with serving(config_of(ANY_PORT)) as server:
        address = parse_address(server.address)
        assert (address.host, address.port != 0) == (LOOPBACK, True)
        async with connect(server.address) as client:
            await greet(client)
    assert said(log, logging.INFO)[0] == f"listening on {server.address}"
    assert said(log, logging.INFO)[-1] == "stopped"


@needs_ipv6
async def test_several_listeners_of_several_kinds(sockets_on_mock_clock: MockClock, tmp_path: Path, log: Log) -> None:
    path = tmp_path / "s"
    async with serving(config_of(ANY_PORT, Listener(Address(LOOPBACK6, 0)), Listener(UnixPath(str(path))))) as server:
        four, six, unix = server.addresses
        assert unix == f"unix:{path}"
        async with connect(four) as on_four, connect(six) as on_six, connect(unix) as on_unix:
            for client in (on_four, on_six, on_unix):
                await greet(client)
            ports = [client.socket.getsockname()[1] for client in (on_four, on_six)]
    assert not path.exists()
    # Each session is known by its client's address.
    clients = {line.split()[1] for line in said(log, logging.INFO) if line.startswith("id=")}
    assert clients == {f"client=127.0.0.1:{ports[0]}", f"client=[::1]:{ports[1]}", "client=unix"}


async def test_an_address_that_cannot_be_had_is_named(log: Log) -> None:
    before = descriptors()
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        address = Address(LOOPBACK, taken.getsockname()[1])
        with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is looked at below)
            await serve(config_of(ANY_PORT, Listener(address)), trio.Event())
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, str(address))
    assert descriptors() == before
    assert said(log, logging.INFO) == []


async def test_a_session_goes_all_the_way_and_reports_its_events(sockets_on_mock_clock: MockClock) -> None:
    events = RecordedEvents()
    async with echoing() as destination, serving(config_of(), events) as server:
        async with connect(server.address) as client:
            await open_session(client, destination)
            await client.send(b"hello")
            await client.send_eof()
            assert await read_all(client) == b"hello"
        server.stopping.set()
        await server.ended.wait()
    assert [(event.name, event.place) for event in events.seen] == [
        ("started", None),
        ("step", Place(None, destination, CONNECT)),
        ("step", Place(None, destination, OPEN)),
        ("ended", None),
    ]


async def test_each_listener_says_whether_it_wants_names(sockets_on_mock_clock: MockClock, tmp_path: Path) -> None:
    """Two with a port of the kernel's choice are two, also when they have the same address in the configuration."""
    strict = Listener(UnixPath(str(tmp_path / "strict")), names_only=NamesOnly.REFUSE)
    loose = Listener(UnixPath(str(tmp_path / "loose")))
    strict_port = replace(ANY_PORT, names_only=NamesOnly.REFUSE)
    codes = []
    async with echoing() as destination, serving(config_of(strict, loose, strict_port, ANY_PORT)) as server:
        for address in server.addresses:
            async with connect(address) as client:
                await greet(client)
                await client.send(b"\x05\x01\x00\x01" + destination.packed + destination.port.to_bytes(2, "big"))
                codes.append((await read_exactly(client, 10))[1])
    assert codes == [2, 0, 2, 0]


# --- stopping


async def test_a_server_without_sessions_stops_at_once(sockets_on_mock_clock: MockClock) -> None:
    async with serving(config_of(grace=math.inf)) as server:
        await trio.sleep(5)
        server.stopping.set()
        await server.ended.wait()
        assert server.ended_at == 5


async def test_a_stopping_server_takes_no_new_connections(sockets_on_mock_clock: MockClock, tmp_path: Path) -> None:
    config = config_of(ANY_PORT, Listener(UnixPath(str(tmp_path / "s"))), grace=math.inf)
    async with serving(config) as server, connect(server.address) as session:
        await greet(session)
        server.stopping.set()
        await trio.sleep(1)
        for address, error in zip(server.addresses, (ConnectionRefusedError, FileNotFoundError), strict=True):
            with pytest.raises(error):
                connect(address)
        assert not server.ended.is_set()


async def test_a_client_that_still_waits_when_the_server_stops_is_turned_away(
    sockets_on_mock_clock: MockClock,
) -> None:
    async with serving(config_of(max_sessions=1)) as server, connect(server.address) as session:
        await greet(session)
        async with connect(server.address) as waiting:
            server.stopping.set()
            with pytest.raises(BrokenResourceError):
                await waiting.receive()


async def test_an_open_session_goes_on_while_the_server_stops_and_ends_it_by_ending(
    sockets_on_mock_clock: MockClock, log: Log
) -> None:
    async with echoing() as destination, serving(config_of(grace=60)) as server:
        async with connect(server.address) as session:
            await open_session(session, destination)
            await trio.sleep(5)
            server.stopping.set()
            await trio.sleep(50)
            await session.send(b"still here")
            assert await read_exactly(session, 10) == b"still here"
            assert not server.ended.is_set()
            await session.send_eof()
            assert await read_all(session) == b""
        await server.ended.wait()
        assert server.ended_at == 55
    assert 'outcome="finished"' in said(log, logging.INFO)[-2]


@pytest.mark.parametrize("grace", [0, 7, 60])
async def test_what_still_runs_after_grace_is_cut_off(sockets_on_mock_clock: MockClock, log: Log, grace: float) -> None:
    async with (
        echoing() as destination,
        serving(config_of(grace=grace)) as server,
        connect(server.address) as relaying,
        connect(server.address) as greeted,
    ):
        await open_session(relaying, destination)
        await greet(greeted)
        await trio.sleep(5)
        server.stopping.set()
        await server.ended.wait()
        assert server.ended_at == 5 + grace
        for client in (relaying, greeted):  # a reset, which is no regular end
            with pytest.raises(BrokenResourceError):
                await client.receive()
    outcomes = [line.partition("outcome=")[2] for line in said(log, logging.INFO) if line.startswith("id=")]
    assert outcomes == ['"cut off: the server is stopping"'] * 2


async def test_without_a_limit_on_grace_sessions_have_all_the_time(sockets_on_mock_clock: MockClock) -> None:
    async with serving(config_of(grace=math.inf)) as server:
        async with connect(server.address) as session:
            await greet(session)
            server.stopping.set()
            await trio.sleep(HOUR)
            assert not server.ended.is_set()
        await server.ended.wait()
        assert server.ended_at == HOUR


async def test_cancelling_closes_everything(sockets_on_mock_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = descriptors()
    async with serving(config_of(ANY_PORT, Listener(UnixPath(str(path))), grace=math.inf)) as server:
        async with connect(server.address) as session:
            await greet(session)
            await trio.sleep(5)
            server.scope.cancel()
            await server.ended.wait()
            assert server.ended_at == 5
            with pytest.raises(BrokenResourceError):
                await session.receive()
        assert descriptors() == before
        assert not path.exists()


# --- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_the_first_signal_lets_sessions_end(
    sockets_on_mock_clock: MockClock, log: Log, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    async with until_signalled(config_of(grace=60)) as (address, ended), connect(address) as session:
        await greet(session)
        await trio.sleep(5)
        os.kill(os.getpid(), number)
        await trio.sleep(50)
        assert not ended.is_set()
        with pytest.raises(ConnectionRefusedError):
            connect(address)
        await session.aclose()
        await ended.wait()
        assert trio.current_time() == 55
    assert f"{number.name}: no new connections, up to 60 s for the open ones" in said(log, logging.INFO)
    assert said(log, logging.WARNING) == []
    assert signal.getsignal(number) is before


async def test_the_first_signal_gives_sessions_no_more_than_grace(sockets_on_mock_clock: MockClock) -> None:
    async with until_signalled(config_of(grace=60)) as (address, ended), connect(address) as session:
        await greet(session)
        os.kill(os.getpid(), signal.SIGTERM)
        await ended.wait()
        assert trio.current_time() == 60
        with pytest.raises(BrokenResourceError):
            await session.receive()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_the_second_signal_ends_everything_now(
    sockets_on_mock_clock: MockClock, log: Log, second: signal.Signals
) -> None:
    async with until_signalled(config_of(grace=math.inf)) as (address, ended), connect(address) as session:
        await greet(session)
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep(5)
        assert not ended.is_set()
        os.kill(os.getpid(), second)
        await ended.wait()
        assert trio.current_time() == 5
        with pytest.raises(BrokenResourceError):
            await session.receive()
    assert said(log, logging.WARNING) == [f"{second.name} again: ending all sessions now"]


async def test_trouble_with_listening_comes_through_the_signal_handling() -> None:
    nowhere = Listener(UnixPath("/nonexistent/socket"))
    with pytest.raises(ExceptionGroup) as caught:
        await serve_until_signalled(config_of(nowhere), unread)
    assert caught.group_contains(FileNotFoundError)


async def logged(log: Log, level: int, line: str) -> None:
    """Wait for a line of the log."""
    with trio.fail_after(20):
        while line not in said(log, level):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_sighup_reloads_and_sigusr1_shows_the_state(log: Log) -> None:
    """On the real clock, as a thread takes part."""
    changed = replace(config_of(), rules=(Rule(1, None),))
    async with until_signalled(config_of(), lambda: Reading(changed, "c.toml")) as (address, ended):
        async with connect(address) as session:
            await greet(session)
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGHUP)
            await logged(log, logging.INFO, "reloaded: new sessions use c.toml")
            assert any(line.startswith("state: 1 session; ") for line in said(log, logging.INFO))
            os.kill(os.getpid(), signal.SIGUSR2)
            await logged(log, logging.WARNING, "SIGUSR2 is ignored: it has no meaning here")
            assert said(log, logging.WARNING) == ["SIGUSR2 is ignored: it has no meaning here"]
        os.kill(os.getpid(), signal.SIGTERM)
        await ended.wait()


async def test_after_the_first_signal_only_those_that_stop_count(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with until_signalled(config_of(grace=60)) as (address, ended), connect(address) as session:
        await greet(session)
        os.kill(os.getpid(), signal.SIGQUIT)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        await trio.sleep(1)
        assert not ended.is_set()
        await session.aclose()
        await ended.wait()
    assert said(log, logging.WARNING) == []
    assert said(log, logging.ERROR) == []


async def test_a_server_that_drains_accepts_for_the_delay(sockets_on_mock_clock: MockClock, log: Log) -> None:
    stopping = trio.Event()
    async with open_server(config_of()) as server, trio.open_nursery() as nursery:
        steering = OneProcess(server, unread, stopping, nursery)
        states = [steering.is_draining]
        assert steering.drain(5) == 5
        states.append(steering.is_draining)
        assert states == [False, True]
        await trio.sleep(4.9)
        async with connect(str(server.listeners[0])) as client:
            await greet(client)
        assert not stopping.is_set()
        await stopping.wait()
        assert trio.current_time() == pytest.approx(5)
    assert "draining: new connections for 5 s more" in said(log, logging.INFO)


async def test_the_earliest_of_several_drains_counts(sockets_on_mock_clock: MockClock, log: Log) -> None:
    stopping = trio.Event()
    async with open_server(config_of()) as server, trio.open_nursery() as nursery:
        steering = OneProcess(server, unread, stopping, nursery)
        assert steering.drain(10) == 10
        await trio.sleep(2)
        assert [steering.drain(20), steering.drain(3)] == [pytest.approx(8), 3]
        await stopping.wait()
        assert trio.current_time() == pytest.approx(5)
        nursery.cancel_scope.cancel()
    lines = [line for line in said(log, logging.INFO) if line.startswith("draining")]
    assert lines == [f"draining: new connections for {seconds} s more" for seconds in (10, 8, 3)]


async def test_signals_that_come_before_a_reload_has_begun_are_one() -> None:
    """On the real clock, as a thread takes part."""
    reads: list[str] = []

    def read() -> Reading:
        reads.append("c.toml")
        return Reading(config_of(), "c.toml")

    async with open_server(config_of()) as server:
        async with trio.open_nursery() as nursery:
            steering = OneProcess(server, read, trio.Event(), nursery)
            for _ in range(50):
                steering.reload_soon()
        assert len(reads) == 1
        for _ in range(2):
            await steering.reload()
        assert len(reads) == 3


# --- helpers


@asynccontextmanager
async def until_signalled(config: Config, read: Read = unread) -> AsyncIterator[tuple[str, trio.Event]]:
    """Run a server that listens to signals; yield its address, and the event of its end."""
    ended = trio.Event()

    async def run(task_status: trio.TaskStatus[Server]) -> None:
        await serve_until_signalled(config, read, task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(run)
        yield str(server.listeners[0]), ended
