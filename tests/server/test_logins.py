"""Clients whose logins wait for their check, over real sockets: what they are told, and what becomes of their check."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from errno import EAGAIN
from functools import partial

import pytest
import trio
from outcome import Outcome, capture
from trio.testing import MockClock

from chainsocks.config.models import Timeouts, User
from chainsocks.config.passwords import HashedPassword
from chainsocks.session.login import Logins
from tests.net.sockets import read_exactly, reset
from tests.server.serving import Serving, config_of, connect, said, serving

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture
Deliver = Callable[[Outcome[bool]], None]
CAROL = User("carol", HashedPassword(2, 8, 1, b"salt", bytes(32)))
GREETING, CHOSEN = bytes.fromhex("05 01 02"), bytes.fromhex("05 02")
LOGIN = b"\x01\x05carol\x05guess"
REQUEST = bytes.fromhex("05 01 00 01 7f000001 0001")
REFUSED = bytes.fromhex("01 01")


class Held:
    """Threads whose checks last until they are let go."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []

    def start(self, check: Callable[[], bool], deliver: Deliver) -> None:
        self.held.append(lambda: deliver(capture(check)))


@asynccontextmanager
async def serving_with(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[Callable[[], bool], Deliver], None]
) -> AsyncIterator[Serving]:
    """Serve with threads of the test's own for the checks of logins."""
    monkeypatch.setattr("chainsocks.server.server.Logins", partial(Logins, start_thread=start))
    async with serving(replace(config_of(), timeouts=Timeouts(handshake=10), users=(CAROL,))) as server:
        yield server


def line(log: Log) -> logging.LogRecord | None:
    """The first line of a session; None if none has ended."""
    return next((record for record in log.records if record.getMessage().startswith("id=")), None)


async def test_a_check_without_a_thread_in_time_is_refused_by_an_answer(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving_with(monkeypatch, Held().start) as server, connect(server.address) as client:
        await client.send(GREETING + LOGIN)
        assert await read_exactly(client, 4) == CHOSEN + REFUSED
        assert trio.current_time() == pytest.approx(10)
    record = line(log)
    assert record
    assert 'outcome="client, login check: not checked, others were before it (within 10 s)"' in record.getMessage()


async def test_a_check_for_which_no_thread_can_be_started_is_refused_by_an_answer(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with serving_with(monkeypatch, no_thread) as server:
        for _ in range(3):
            async with connect(server.address) as client:
                await client.send(GREETING + LOGIN)
                assert await read_exactly(client, 4) == CHOSEN + REFUSED
    warnings = said(log, logging.WARNING)
    assert len(warnings) == 3
    for warning in warnings:
        assert f'"client, login check: no thread for it at this end: {os.strerror(EAGAIN)}"' in warning


@pytest.mark.parametrize("leave", ["resets", "closes"])
async def test_a_client_that_leaves_frees_its_place_at_once(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch, leave: str
) -> None:
    held = Held()
    async with serving_with(monkeypatch, held.start) as server:
        client = connect(server.address)
        await client.send(GREETING)
        assert await read_exactly(client, 2) == CHOSEN
        await client.send(LOGIN)
        await trio.sleep(1)
        if leave == "resets":
            reset(client.socket)
        else:
            await client.aclose()
        await trio.sleep(1)
        record = line(log)
        assert record
        assert "duration=1.0" in record.getMessage()
        assert 'outcome="client, login check: it left"' in record.getMessage()
        for let_go in held.held:
            let_go()  # the check had its thread already
        await trio.sleep(1)


@pytest.mark.parametrize("behind", [REQUEST, b""], ids=["with its request sent", "without"])
async def test_a_client_that_has_finished_its_side_has_left_unless_its_request_came(
    sockets_on_mock_clock: MockClock, log: Log, monkeypatch: pytest.MonkeyPatch, behind: bytes
) -> None:
    held = Held()
    async with serving_with(monkeypatch, held.start) as server, connect(server.address) as client:
        await client.send(GREETING + LOGIN + behind)
        client.socket.shutdown(socket.SHUT_WR)
        await trio.sleep(1)
        assert (line(log) is None) == bool(behind)
        for let_go in held.held:
            let_go()
        if behind:
            assert await read_exactly(client, 4) == CHOSEN + REFUSED
