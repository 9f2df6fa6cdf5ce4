"""The accept loop: permits, and errors of accept(2), on real loopback sockets."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream
from trio.testing import MockClock

from chainsocks.config.models import User
from chainsocks.config.passwords import HashedPassword, PlainPassword
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import parse_address
from chainsocks.server.accept import ACCEPT_BACKOFF, ACCEPTS_BEFORE_YIELD, MAX_LOST
from chainsocks.server.crowds import PATIENCE
from chainsocks.session.login import Logins
from tests.net.sockets import descriptors, read_exactly
from tests.server.serving import (
    ANY_PORT,
    GREETING,
    config_of,
    connect,
    echoing,
    greet,
    is_served,
    open_session,
    said,
    serving,
)

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture

# --- max_sessions


async def test_a_client_too_many_waits_until_a_session_ends(sockets_on_mock_clock: MockClock) -> None:
    async with echoing() as destination, serving(config_of(max_sessions=2)) as server, connect(server.address) as one:
        await open_session(one, destination)
        async with connect(server.address) as other, connect(server.address) as too_many:
            await open_session(other, destination)
            await too_many.send(GREETING)
            assert not await is_served(too_many)
            assert not await is_served(too_many)
            await other.aclose()
            assert await is_served(too_many)


async def test_the_log_says_once_that_the_limit_is_reached(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with serving(config_of(max_sessions=1)) as server:
        for _ in range(3):
            async with connect(server.address) as served, connect(server.address):
                await greet(served)
                await trio.sleep(PATIENCE / 2)
            await trio.sleep(PATIENCE / 2)
    assert said(log, logging.WARNING) == ["max_sessions (1) is reached: further connections wait"]


@pytest.mark.parametrize("first", [0, 1])
async def test_all_listeners_share_the_limit_and_none_keeps_it_from_another(
    sockets_on_mock_clock: MockClock, first: int
) -> None:
    async with (
        echoing() as destination,
        serving(config_of(ANY_PORT, ANY_PORT, max_sessions=1)) as server,
        connect(server.addresses[first]) as served,
    ):
        await open_session(served, destination)
        async with connect(server.addresses[1 - first]) as waiting:
            await waiting.send(GREETING)
            assert not await is_served(waiting)
            await served.aclose()
            assert await is_served(waiting)


# --- connections without a complete request

STATES = {
    "silent": b"",
    "half a greeting": bytes.fromhex("05 02"),
    "a greeting": GREETING,
    "half a SOCKS4 request": bytes.fromhex("04 01 0050 c000"),
    "half a request": GREETING + bytes.fromhex("05 01 00 03 20") + b"example",
}
STEPS = ["first byte", "method negotiation", "request", "request", "request"]


@pytest.mark.parametrize(("words", "step"), [*zip(STATES.values(), STEPS, strict=True)], ids=STATES)
async def test_a_connection_without_a_complete_request_makes_room(
    sockets_on_mock_clock: MockClock, log: Log, words: bytes, step: str
) -> None:
    async with echoing() as destination, serving(config_of(max_sessions=3)) as server, connect(server.address) as first:
        await open_session(first, destination)
        async with connect(server.address) as slow:
            await slow.send(words)
            await trio.sleep(0.1)
            async with connect(server.address) as younger, connect(server.address) as new:
                await open_session(new, destination)
                assert PATIENCE <= trio.current_time() <= PATIENCE + 0.1
                await greet(younger)
                await first.send(b"still here")
                assert await read_exactly(first, 10) == b"still here"
            with suppress(BrokenResourceError, EndOfStream):
                while True:
                    await slow.receive()
    [line] = [line for line in said(log, logging.INFO) if "make room" in line]
    assert f'"client, {step}: ended to make room for others, before its request was complete"' in line


async def test_a_login_that_waits_for_its_check_makes_room(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainsocks.server.server.Logins", partial(Logins, start_thread=lambda *_: None))
    users = (User("carol", HashedPassword(2, 8, 1, b"salt", bytes(32))),)
    async with serving(replace(config_of(max_sessions=1), users=users)) as server, connect(server.address) as slow:
        await slow.send(bytes.fromhex("05 01 02") + b"\x01\x05carol\x05wrong")
        await trio.sleep(0.1)
        async with connect(server.address) as new:
            await new.send(bytes.fromhex("05 01 02"))
            assert await read_exactly(new, 2) == bytes.fromhex("05 02")
            assert trio.current_time() <= PATIENCE + 1
    assert any('"client, login check: ended to make room' in line for line in said(log, logging.INFO))


async def test_a_client_that_was_refused_and_stays_makes_room(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with serving(config_of(max_sessions=1)) as server, connect(server.address) as refused:
        await refused.send(b"GET / HTTP/1.1\r\n\r\n")
        async with connect(server.address) as new:
            await greet(new)
            assert trio.current_time() <= PATIENCE + 1
    assert "HTTP" in next(line for line in said(log, logging.INFO) if line.startswith("id="))


async def test_a_user_with_too_many_sessions_waits_for_a_turn(sockets_on_mock_clock: MockClock, log: Log) -> None:
    """The reserve of 16 is one: the address may still come in, and the user has 15."""
    users = tuple(User(name, PlainPassword(b"secret")) for name in ("carol", "dave"))
    config = replace(config_of(max_sessions=16), users=users)
    async with (
        echoing() as destination,
        serving(replace(config, timeouts=replace(config.timeouts, handshake=10))) as server,
        AsyncExitStack() as stack,
    ):

        async def ask(name: bytes) -> tuple[SocketStream, int]:
            client = await stack.enter_async_context(connect(server.address))
            await client.send(bytes.fromhex("05 01 02"))
            assert await read_exactly(client, 2) == bytes.fromhex("05 02")
            await client.send(bytes((1, len(name))) + name + b"\x06secret")
            assert await read_exactly(client, 2) == bytes.fromhex("01 00")
            await client.send(bytes.fromhex("05 01 00 01") + destination.packed + destination.port.to_bytes(2, "big"))
            return client, (await read_exactly(client, 10))[1]

        clients = [await ask(b"carol") for _ in range(15)]
        assert [code for _, code in clients] == [0] * 15
        began = trio.current_time()
        assert (await ask(b"carol"))[1] == 1
        assert trio.current_time() - began == pytest.approx(10)
        assert (await ask(b"dave"))[1] == 0
        for client, _ in clients[:2]:
            await client.aclose()
        began = trio.current_time()
        assert (await ask(b"carol"))[1] == 0
        assert trio.current_time() == began
    assert any("its user has as many sessions as max_sessions allows one user now" in text for text in log.messages)


async def test_what_still_waits_when_the_server_stops_is_reset(sockets_on_mock_clock: MockClock) -> None:
    async with echoing() as destination, serving(config_of(max_sessions=1)) as server, connect(server.address) as one:
        await open_session(one, destination)
        async with connect(server.address) as waiting:
            await trio.sleep(0.5)
            server.stopping.set()
            with pytest.raises(BrokenResourceError):
                await waiting.receive()


async def test_without_file_descriptors_a_silent_connection_makes_room(
    sockets_on_mock_clock: MockClock, log: Log
) -> None:
    async with serving(config_of()) as server, connect(server.address):
        await trio.sleep(2 * PATIENCE)
        with no_descriptors_left() as spare:
            spare.connect(address_for(server.address))
            spare.settimeout(0)
            client = SocketStream(spare)
            await client.send(GREETING)
            assert await is_served(client)
        await client.aclose()
    assert any("ended to make room" in line for line in said(log, logging.INFO))


# --- errors


async def test_without_file_descriptors_clients_wait_and_sessions_go_on(
    sockets_on_mock_clock: MockClock, log: Log
) -> None:
    async with serving(config_of()) as server, echoing() as destination, connect(server.address) as session:
        await open_session(session, destination)
        await session.send(b"hello")
        assert await read_exactly(session, 5) == b"hello"  # the destination too has its descriptor now
        log.clear()
        with no_descriptors_left() as spare:
            spare.connect(session.socket.getpeername())
            spare.settimeout(0)
            client = SocketStream(spare)
            await client.send(GREETING)
            assert not await is_served(client)
            await session.send(b"still here")
            assert await read_exactly(session, 10) == b"still here"
        assert said(log, logging.WARNING) == [
            "cannot accept: Too many open files; trying again (see `ulimit -n`, max_sessions)"
        ]
        freed_at = trio.current_time()
        assert await is_served(client)
        assert trio.current_time() - freed_at <= ACCEPT_BACKOFF
        await client.aclose()


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL], ids=errno.errorcode.get
)
async def test_an_error_that_may_last_pauses_accepting_and_is_logged_once(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail_to_accept(monkeypatch, *[number] * 3)
    async with serving(config_of()) as server, connect(server.address) as client:
        await greet(client)
        assert trio.current_time() == pytest.approx(3 * ACCEPT_BACKOFF)
    [warning] = said(log, logging.WARNING)
    assert warning.startswith(f"cannot accept: {os.strerror(number)}; trying again")
    assert warning.endswith(" (see `ulimit -n`, max_sessions)") == (number != errno.EINVAL)


async def test_trouble_that_comes_again_is_logged_again(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(config_of()) as server:
        for times in (1, 2):
            fail_to_accept(monkeypatch, errno.EMFILE, errno.EMFILE)
            async with connect(server.address) as client:
                await greet(client)
            assert len(said(log, logging.WARNING)) == times


GONE = [
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
]
"""What accept(2) says of a single connection."""


@pytest.mark.parametrize("number", GONE, ids=errno.errorcode.get)
async def test_a_connection_that_ended_in_the_backlog_is_passed_over(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with serving(config_of(max_sessions=1)) as server:
        fail_to_accept(monkeypatch, *[number] * 3)
        async with connect(server.address) as client:
            await greet(client)
            assert trio.current_time() == 0
    assert said(log, logging.WARNING) == []


@pytest.mark.parametrize("number", GONE, ids=errno.errorcode.get)
async def test_other_tasks_run_while_connections_are_lost(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One error at a time: every other task has its turn between any two of them."""
    async with serving(config_of()) as server:
        left = fail_to_accept(monkeypatch, *[number] * (MAX_LOST - 1))
        with connect(server.address).socket:
            seen = [len(left)]
            while left:
                await trio.lowlevel.checkpoint()
                seen.append(len(left))
    assert max(before - after for before, after in pairwise(seen)) <= 2  # trio runs a batch of tasks in any order
    assert said(log, logging.WARNING) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.ECONNABORTED], ids=errno.errorcode.get)
async def test_an_accept_that_always_fails_is_logged_once_and_repeated_at_intervals(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with serving(config_of()) as server:
        left = fail_to_accept(monkeypatch, *[number] * (10 * MAX_LOST))
        async with connect(server.address) as client:
            await greet(client)
        assert left == []
        assert trio.current_time() == pytest.approx(10 * ACCEPT_BACKOFF)
    assert said(log, logging.WARNING) == [f"cannot accept: {os.strerror(number)}; trying again"]


async def test_a_server_that_can_never_accept_can_be_stopped(
    sockets_on_mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def fail(listener: socket.socket) -> tuple[socket.socket, object]:
        nonlocal calls
        calls += 1
        if calls > 100 * MAX_LOST:
            pytest.fail("accept is called again and again, and nothing else runs")
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    async with serving(config_of()) as server:
        monkeypatch.setattr(socket.socket, "accept", fail)
        with connect(server.address).socket:
            await trio.sleep(5)
            server.stopping.set()
            await server.ended.wait()
            assert server.ended_at == 5


async def test_many_connections_at_once_do_not_keep_other_tasks_waiting(
    sockets_on_mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = socket.socket.accept
    accepted = 0

    def count(listener: socket.socket) -> tuple[socket.socket, object]:
        nonlocal accepted
        result = accept(listener)
        accepted += 1
        return result

    async with serving(config_of(max_sessions=200)) as server:
        await trio.sleep(1)
        monkeypatch.setattr(socket.socket, "accept", count)
        with ExitStack() as stack:
            for _ in range(5 * ACCEPTS_BEFORE_YIELD):
                stack.enter_context(connect(server.address).socket)
            seen = [0]
            while seen[-1] < 5 * ACCEPTS_BEFORE_YIELD:
                await trio.lowlevel.checkpoint()
                seen.append(accepted)
    assert max(after - before for before, after in pairwise(seen)) <= 2 * ACCEPTS_BEFORE_YIELD


# --- helpers


def fail_to_accept(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[int]:
    """Have the next calls of accept() fail with these errors, one each; return those that are left."""
    accept = socket.socket.accept
    left = list(numbers)

    def fail_or_accept(listener: socket.socket) -> tuple[socket.socket, object]:
        if left:
            number = left.pop()
            raise OSError(number, os.strerror(number))
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", fail_or_accept)
    return left


def address_for(text: str) -> tuple[str, int]:
    address = parse_address(text)
    return address.host, address.port


@contextmanager
def no_descriptors_left() -> Iterator[socket.socket]:
    """Use up all file descriptors of this process; yield a socket that was made before, which the test closes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = socket.socket()
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 1, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with suppress(OSError):
            while True:
                stack.callback(os.close, os.dup(spare.fileno()))
        yield spare
