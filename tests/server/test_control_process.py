"""The control process: what it asks of the parent, and what the parent tells it."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from chainsocks.config.models import Config
from chainsocks.control.client import ControlClient
from chainsocks.control.messages import ControlError
from chainsocks.control.messages import Reloaded as ReloadedAnswer
from chainsocks.errors import Problem
from chainsocks.server import orders
from chainsocks.server.all_workers import AllWorkers, ServerControls
from chainsocks.server.channel import Channel, open_channel
from chainsocks.server.control_process import ControlProcess, _ToParent
from chainsocks.server.inbox import Inbox, opened_inbox
from chainsocks.server.reload import Outcome
from chainsocks.server.web import WebServer
from tests.control.answering import short_folder
from tests.net.sockets import nothing_left_open

__all__ = ["nothing_left_open"]

pytestmark = pytest.mark.usefixtures("nothing_left_open")


@asynccontextmanager
async def to_parent() -> AsyncIterator[tuple[_ToParent, Channel, AllWorkers]]:
    ours, theirs = open_channel()
    parent = _ToParent(ours, WebServer(Config()))
    all_workers = AllWorkers(ServerControls(parent.reload, parent.drain, os.getpid(), lambda: parent.grace), 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parent.listen, all_workers, nursery)
        yield parent, theirs, all_workers
        theirs.close()
    ours.close()


async def test_reloads_get_their_own_answers_even_if_one_was_given_up() -> None:
    async with to_parent() as (parent, theirs, _):
        with trio.move_on_after(0.01):
            await parent.reload()
        results: list[ReloadedAnswer] = []

        async def reload() -> None:
            results.append(await parent.reload())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reload)
            for number in range(2):
                assert (await theirs.next()).message == orders.ReloadPlease()
                problems = (Problem("server", "is odd"),) if number else ()
                theirs.send(orders.Reloaded(Outcome("c.toml", problems, ("mind it",))))
        assert results == [ReloadedAnswer("c.toml", ("c.toml: server: is odd",), ("mind it",))]


async def test_a_server_that_stops_does_not_reload() -> None:
    async with to_parent() as (parent, theirs, all_workers):
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await theirs.next()
                theirs.send(orders.Order.STOP)

            nursery.start_soon(stop)
            with pytest.raises(ControlError, match="about to stop"):
                await parent.reload()
        assert all_workers.is_draining
        with pytest.raises(ControlError, match="about to stop"):
            await parent.reload()


async def test_a_drain_is_passed_on() -> None:
    async with to_parent() as (parent, theirs, all_workers):
        theirs.send(orders.Settings(2, 7.0))
        await trio.sleep(0.05)
        draining = await all_workers.drain(1.5)
        assert (draining.grace, all_workers.expected, parent.grace) == (7, 2, 7)
        assert (await theirs.next()).message == orders.DrainPlease(1.5)
        later = await all_workers.drain(100)
        assert (draining.delay, later.delay <= 1.5) == (1.5, True)


async def test_a_control_process_that_starts_during_a_drain_knows() -> None:
    async with to_parent() as (_, theirs, all_workers):
        theirs.send(orders.Settings(2, 7.0, time.monotonic() + 5))
        await trio.sleep(0.05)
        assert all_workers.is_draining
        assert (await all_workers.drain(100)).delay <= 5


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "control"))
        sock.listen()
        sock.settimeout(0)
        yield sock


def reaped(control_process: ControlProcess, inbox: Inbox) -> bool:
    """Wait as the parent does until its process has died; return whether another one is due then."""
    while control_process.pid:
        inbox.wait(time.monotonic() + 1)
        is_due = control_process.reap()
    return is_due


def ask_status(listening: socket.socket) -> tuple[int, float]:
    with ControlClient([Path(listening.getsockname())]) as client:
        status = client.status()
    return status.pid, status.uptime


def test_it_is_started_anew_and_ends_with_the_server(listening: socket.socket) -> None:
    with opened_inbox() as inbox:
        control_process = ControlProcess(listening, WebServer(Config()), inbox, inbox.leave, math.inf)
        control_process.start()
        first = control_process.pid
        pid, uptime = ask_status(listening)
        assert pid == os.getpid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(first, number)
        assert ask_status(listening)[1] > uptime
        os.kill(first, signal.SIGKILL)
        assert not reaped(control_process, inbox)
        assert 0 < control_process.due - time.monotonic() < 2
        control_process.start()
        second = control_process.pid
        assert second != first
        assert ask_status(listening)[1] > uptime
        control_process.close()
        for pid in (first, second):
            with pytest.raises(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def test_it_ends_when_the_parent_is_gone(listening: socket.socket) -> None:
    with opened_inbox() as inbox:
        control_process = ControlProcess(listening, WebServer(Config()), inbox, inbox.leave, math.inf)
        control_process.start()
        ask_status(listening)
        pid = control_process.pid
        control_process._hang_up()
        assert os.waitpid(pid, 0)[1] == 0
        control_process.pid = 0
