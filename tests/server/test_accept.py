"""The accept loop: permits, and errors of accept(2), on real loopback sockets."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from chainsocks.net.stream import SocketStream
from chainsocks.server.accept import ACCEPT_BACKOFF, ACCEPTS_BEFORE_YIELD, MAX_LOST
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
    async with serving(config_of(max_sessions=2)) as server, connect(server.address) as one:
        await greet(one)
        async with connect(server.address) as other, connect(server.address) as too_many:
            await greet(other)
            await too_many.send(GREETING)
            assert not await is_served(too_many)
            await other.aclose()
            assert await is_served(too_many)


async def test_the_log_says_once_that_the_limit_is_reached(sockets_on_mock_clock: MockClock, log: Log) -> None:
    async with serving(config_of(max_sessions=1)) as server:
        for _ in range(3):
            async with connect(server.address) as client:
                await greet(client)
            await trio.sleep(1)
    assert said(log, logging.WARNING) == ["max_sessions (1) is reached: further connections wait"]


@pytest.mark.parametrize("first", [0, 1])
async def test_all_listeners_share_the_limit_and_none_keeps_it_from_another(
    sockets_on_mock_clock: MockClock, first: int
) -> None:
    async with (
        serving(config_of(ANY_PORT, ANY_PORT, max_sessions=1)) as server,
        connect(server.addresses[first]) as served,
    ):
        await greet(served)
        async with connect(server.addresses[1 - first]) as waiting:
            await waiting.send(GREETING)
            assert not await is_served(waiting)
            await served.aclose()
            assert await is_served(waiting)


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
    assert said(log, logging.WARNING) == ["max_sessions (1) is reached: further connections wait"]


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
