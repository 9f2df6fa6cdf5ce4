"""A running server whose service, permits and listeners are changed."""

from __future__ import annotations

import errno
import logging
import os
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
from trio.testing import MockClock

from chainsocks.config.chains import Chain
from chainsocks.config.choices import NamesOnly
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import Rule
from chainsocks.net.rearranging import rearranged
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address
from chainsocks.server.server import Server, open_server
from chainsocks.session.login import Logins
from chainsocks.session.routing_decision import RoutingDecision, route_at_once
from chainsocks.session.service import Service
from tests.net.sockets import LOOPBACK, descriptors, free_port, read_exactly
from tests.server.serving import (
    ANY_PORT,
    GREETING,
    config_of,
    connect,
    echoing,
    greet,
    is_served,
    open_session,
    serving,
)

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture

# --- the service


async def test_new_sessions_have_the_new_service_and_running_ones_the_old(sockets_on_mock_clock: MockClock) -> None:
    open_to_all = config_of()
    closed = replace(open_to_all, rules=(Rule(1, None),))
    async with echoing() as destination, open_server(open_to_all) as server:
        async with connect(address_of(server)) as relaying, connect(address_of(server)) as greeted:
            await open_session(relaying, destination)
            await greet(greeted)
            server.change_service(service_for(server, closed))
            assert server.service.config is closed
            async with connect(address_of(server)) as new:
                await greet(new)
                assert await request(new, destination) == NOT_ALLOWED
            await relaying.send(b"still here")
            assert await read_exactly(relaying, 10) == b"still here"
            assert await request(greeted, destination) == SUCCEEDED
        server.change_service(service_for(server, open_to_all))
        async with connect(address_of(server)) as new:
            await open_session(new, destination)


async def test_the_users_of_the_new_service_have_to_log_in(sockets_on_mock_clock: MockClock) -> None:
    async with open_server(config_of()) as server:
        users = (User("carol", PlainPassword(b"geheim")),)
        server.change_service(service_for(server, replace(server.service.config, users=users)))
        async with connect(address_of(server)) as client:
            await client.send(GREETING)
            assert await read_exactly(client, 2) == bytes.fromhex("05 FF")


async def test_names_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def answer(host: str, port: int, *_: object, **__: object) -> list[object]:
        nonlocal asked
        asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("chainsocks.net.names.socket.getaddrinfo", answer)
    async with open_server(config_of()) as server:
        network, name = server.service.network, Address("paris.example", 80)
        await network.resolve(name)
        before = asked
        await network.resolve(name)
        assert asked == before
        server.change_service(service_for(server, config_of()))
        await network.resolve(name)
        assert asked > before


async def test_the_new_service_has_the_say_on_grace(sockets_on_mock_clock: MockClock) -> None:
    async with open_server(config_of(grace=60)) as server:
        client = connect(address_of(server))
        await greet(client)
        server.change_service(service_for(server, config_of(grace=7)))
    assert trio.current_time() == 7
    await client.aclose()


async def test_health_checks_follow_the_service(sockets_on_mock_clock: MockClock) -> None:
    """Hops that only the old one has are not checked any more."""
    checked: dict[str, int] = {"old": 0, "new": 0}
    async with trio.open_nursery() as nursery:
        chains = {}
        for name in checked:

            async def note(stream: trio.SocketStream, name: str = name) -> None:
                checked[name] += 1

            [listener] = await nursery.start(partial(trio.serve_tcp, note, 0, host=LOOPBACK))
            hop = Hop(name, HopProtocol.SOCKS5, Address(LOOPBACK, listener.socket.getsockname()[1]))
            chains[name] = {"default": Chain(Group(hop, check=10), name="default")}
        async with open_server(config_of()) as server:
            for name, other in (("old", "new"), ("new", "old")):
                server.change_service(service_for(server, replace(config_of(), chains=chains[name])))
                before = dict(checked)
                await trio.sleep(60)
                assert checked[name] > before[name]
                assert checked[other] == before[other]
            server.change_service(service_for(server, config_of()))
            before = dict(checked)
            await trio.sleep(60)
            assert checked == before
        nursery.cancel_scope.cancel()


# --- places


async def test_max_sessions_can_grow(sockets_on_mock_clock: MockClock) -> None:
    async with (
        echoing() as destination,
        open_server(config_of(max_sessions=1)) as server,
        connect(address_of(server)) as one,
    ):
        await open_session(one, destination)
        async with connect(address_of(server)) as other, connect(address_of(server)) as too_many:
            for client in (other, too_many):
                await client.send(GREETING)
                assert not await is_served(client)
            server.change_service(service_for(server, config_of(max_sessions=2)))
            assert await is_served(other)
            assert server.admission.taken == 2


async def test_max_sessions_can_shrink_without_harm_to_those_that_run(sockets_on_mock_clock: MockClock) -> None:
    async with (
        echoing() as destination,
        open_server(config_of(max_sessions=2)) as server,
        connect(address_of(server)) as one,
        connect(address_of(server)) as two,
        connect(address_of(server)) as three,
    ):
        await open_session(one, destination)
        await open_session(two, destination)
        server.change_service(service_for(server, config_of(max_sessions=1)))
        await three.send(GREETING)
        assert not await is_served(three)
        await one.aclose()
        assert not await is_served(three)
        assert server.admission.taken == 1
        await two.aclose()
        assert await is_served(three)


# --- listeners


def listen(server: Server, *listeners: Listener) -> None:
    """Have a server listen at these addresses and at no others."""
    with rearranged(server.listeners, listeners) as sockets:
        server.change_listeners(sockets)


async def test_a_listener_can_be_added(sockets_on_mock_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with open_server(config_of()) as server:
        before = address_of(server)
        listen(server, ANY_PORT, Listener(Address("127.0.0.2", 0)), Listener(UnixPath(str(path))))
        assert [str(each) for each in server.listeners][::2] == [before, f"unix:{path}"]
        for each in server.listeners:
            async with connect(str(each)) as client:
                await greet(client)
    assert not path.exists()


async def test_a_listener_that_cannot_listen_changes_nothing(sockets_on_mock_clock: MockClock) -> None:
    async with open_server(config_of()) as server:
        with rearranged(server.listeners, [ANY_PORT, Listener(Address("127.0.0.2", 0))]) as sockets:
            socket.create_server(sockets[1].sock.getsockname()).close()  # as long as it does not listen
            with socket.socket() as rival:
                rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                rival.bind(sockets[1].sock.getsockname())
                rival.listen()
                with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is looked at below)
                    server.change_listeners(sockets)
            sockets[1].close()
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, "127.0.0.2:0")
        [opened] = server.listeners
        async with connect(str(opened)) as client:
            await greet(client)


async def test_a_listener_can_be_closed_while_its_sessions_go_on(
    sockets_on_mock_clock: MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    listener = Listener(UnixPath(str(path)))
    async with (
        echoing() as destination,
        open_server(config_of(ANY_PORT, listener)) as server,
        connect(f"unix:{path}") as session,
    ):
        await open_session(session, destination)
        listen(server, ANY_PORT)
        assert [each.listener for each in server.listeners] == [ANY_PORT]
        await trio.sleep(1)
        assert not path.exists()
        listen(server, ANY_PORT, listener)
        for each in server.listeners:
            async with connect(str(each)) as client:
                await greet(client)
        await session.send(b"still here")
        assert await read_exactly(session, 10) == b"still here"


async def test_a_closed_port_is_free_once_a_task_has_run(sockets_on_mock_clock: MockClock) -> None:
    async with open_server(config_of()) as server:
        name = server.listeners[0].sock.getsockname()
        listen(server)
        assert server.listeners == []
        await trio.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(name)
        listen(server, Listener(Address(*name)))
        async with connect(address_of(server)) as client:
            await greet(client)


async def test_a_closed_listener_serves_the_connections_that_it_has(sockets_on_mock_clock: MockClock) -> None:
    """Also those that it has not accepted yet."""
    async with echoing() as destination, open_server(config_of()) as server, connect(address_of(server)) as client:
        listen(server)
        await open_session(client, destination)
        await client.send(b"hello")
        assert await read_exactly(client, 5) == b"hello"


async def test_a_listener_can_be_closed_while_its_connections_wait(sockets_on_mock_clock: MockClock) -> None:
    """They have been accepted, and are served as the sessions are that it has."""
    other = Listener(Address("127.0.0.2", 0))
    async with echoing() as destination, open_server(config_of(ANY_PORT, other, max_sessions=1)) as server:
        session = connect(address_of(server))
        await open_session(session, destination)
        async with connect(address_of(server, 1)) as waiting:
            await waiting.send(GREETING)
            assert not await is_served(waiting)
            listen(server, ANY_PORT)
            assert not await is_served(waiting)
            await session.aclose()
            assert await is_served(waiting)


async def test_a_listener_that_stays_keeps_its_socket_and_has_the_new_terms(
    sockets_on_mock_clock: MockClock,
) -> None:
    async with echoing() as destination, open_server(config_of()) as server:
        [before] = server.listeners
        async with connect(address_of(server)) as greeted, connect(address_of(server)) as session:
            await greet(greeted)
            await open_session(session, destination)
            for names_only, code in ((NamesOnly.REFUSE, NOT_ALLOWED), (NamesOnly.OFF, SUCCEEDED)):
                listen(server, replace(ANY_PORT, names_only=names_only))
                [after] = server.listeners
                assert (after.sock, after.listener.names_only) == (before.sock, names_only)
                async with connect(address_of(server)) as new:
                    await greet(new)
                    assert await request(new, destination) == code
            await session.send(b"still here")
            assert await read_exactly(session, 10) == b"still here"
            assert await request(greeted, destination) == SUCCEEDED


async def test_a_listener_may_have_a_chain_of_its_own(sockets_on_mock_clock: MockClock) -> None:
    """The requests of the other listener go through a hop that refuses connections."""
    chains = {"default": Chain(f"socks5://{LOOPBACK}:{free_port()}")}
    config = replace(config_of(ANY_PORT, replace(ANY_PORT, chain="direct")), chains=chains)
    async with echoing() as destination, open_server(config) as server:
        codes = []
        for opened in server.listeners:
            async with connect(str(opened)) as client:
                await greet(client)
                codes.append(await request(client, destination))
    assert codes == [GENERAL_FAILURE, SUCCEEDED]


async def test_without_a_poller_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file descriptor is left for it."""

    def fail() -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    path = tmp_path / "s"
    before = descriptors()
    monkeypatch.setattr("chainsocks.server.server.open_poller", fail)
    with pytest.raises(OSError, match="Too many open files"):
        async with open_server(config_of(ANY_PORT, Listener(UnixPath(str(path))))):
            pass
    assert (descriptors(), path.exists()) == (before, False)


# --- trouble in a session


async def test_a_bug_ends_its_session_and_nothing_else(
    sockets_on_mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, log: Log, each_session_way: str
) -> None:
    bugs = iter([ZeroDivisionError("a bug for the test")])

    def fail_once(*args: Any) -> RoutingDecision | None:
        for bug in bugs:
            raise bug
        return route_at_once(*args)

    where = "session.routing_decision" if each_session_way == "task" else "server.lane_session"
    monkeypatch.setattr(f"chainsocks.{where}.route_at_once", fail_once)
    async with serving(config_of(max_sessions=1)) as server, echoing() as destination:
        async with connect(server.address) as unlucky:
            await greet(unlucky)
            assert await request(unlucky, destination) == GENERAL_FAILURE
        async with connect(server.address) as client:
            await open_session(client, destination)
            await client.send(b"hello")
            assert await read_exactly(client, 5) == b"hello"
    [error] = [record for record in log.records if record.levelno == logging.ERROR]
    assert error.getMessage() == "a bug in chainsocks ended a session: ZeroDivisionError: a bug for the test"
    assert error.exc_info is None
    traces = [record for record in log.records if record.getMessage() == "where it happened"]
    assert [record.levelno for record in traces] == ([logging.DEBUG] if each_session_way == "task" else [])
    assert all(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in traces)


# --- helpers

SUCCEEDED, GENERAL_FAILURE, NOT_ALLOWED = 0, 1, 2


async def request(client: SocketStream, destination: Address) -> int:
    """Ask for a connection to an IPv4 address, after the greeting; return the reply code."""
    await client.send(bytes.fromhex("05 01 00 01") + destination.packed + destination.port.to_bytes(2, "big"))
    return (await read_exactly(client, 10))[1]


def service_for(server: Server, config: Config) -> Service:
    """Make a service for another configuration."""
    return replace(server.service, config=config, logins=Logins(config.users))


def address_of(server: Server, index: int = 0) -> str:
    """The address of a listener."""
    return str(server.listeners[index])
