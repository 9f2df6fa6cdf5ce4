"""One worker: its signals and its parent's end, in this process; its beginning and its own end, in a process."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
from anyio import BrokenResourceError
from trio.testing import MockClock

from chainsocks.config.listeners import Listener
from chainsocks.config.rules import Rule
from chainsocks.net.listeners import OpenListener
from chainsocks.net.sharing import bind_beside, listen_beside, reserve_listeners
from chainsocks.protocol.address import Address
from chainsocks.server.channel import Channel, open_channel
from chainsocks.server.orders import Changed, Order, Prepare, Prepared, Told
from chainsocks.server.worker import Worker, serve_as_worker
from chainsocks.session.service import Service
from tests.e2e.programs import PATIENCE
from tests.net.sockets import descriptors, read_exactly
from tests.server.serving import ANY_PORT, config_of, connect, greet

GRACE = 60

HELD = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD}
"""What a worker finds blocked, and lets in."""


@contextmanager
def signals_held() -> Iterator[None]:
    """Block what a parent blocks before it forks, and forget what is left of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        while signal.sigtimedwait(HELD, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(slots=True)
class Working:
    """A worker at work, and the end of its channel that its parent would hold."""

    address: str
    parent: Channel
    reserved: OpenListener
    ended: trio.Event = field(default_factory=trio.Event)


@asynccontextmanager
async def working(*early: signal.Signals) -> AsyncIterator[Working]:
    """Run a worker in the background, after the signals that are there already, and wait for its end."""
    with signals_held(), ExitStack() as stack:
        for number in early:
            signal.raise_signal(number)
        parent, channel = open_channel()
        for each in (parent, channel):
            stack.callback(each.close)
        reserved = stack.enter_context(reserve_listeners([ANY_PORT]))
        listeners = stack.enter_context(listen_beside(reserved))
        worker = Working(str(reserved[0]), parent, reserved[0])

        async def run() -> None:
            await serve_as_worker(Worker(7, config_of(grace=GRACE), listeners, channel))
            worker.ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield worker


async def kill(*numbers: signal.Signals) -> None:
    """Send signals to this thread; each has been noticed before the next one is sent."""
    for number in numbers:
        signal.raise_signal(number)
        await trio.sleep(1)


DRAINING: list[Sequence[signal.Signals]] = [
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGINT, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGTERM, signal.SIGTERM),
]


@pytest.mark.parametrize("numbers", DRAINING, ids=lambda numbers: "-".join(number.name for number in numbers))
async def test_a_signal_lets_sessions_end_however_often_it_comes(
    sockets_on_mock_clock: MockClock, log: pytest.LogCaptureFixture, numbers: Sequence[signal.Signals]
) -> None:
    async with working() as worker, connect(worker.address) as session:
        await greet(session)
        await kill(*numbers)
        with pytest.raises(ConnectionRefusedError):
            connect(worker.address)
        await trio.sleep(GRACE - len(numbers) - 1)
        assert not worker.ended.is_set()
        await session.aclose()
        await worker.ended.wait()
        assert trio.current_time() == GRACE - 1
    assert [record.getMessage() for record in log.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("before", [[], [signal.SIGTERM]], ids=["first", "second"])
async def test_the_parent_can_have_everything_end_now(
    sockets_on_mock_clock: MockClock, before: Sequence[signal.Signals]
) -> None:
    async with working() as worker, connect(worker.address) as session:
        await greet(session)
        await kill(*before)
        worker.parent.send(Order.END_NOW)
        await worker.ended.wait()
        assert trio.current_time() == len(before)
        with pytest.raises(BrokenResourceError):
            await session.receive()


async def test_the_parent_can_have_it_stop(sockets_on_mock_clock: MockClock) -> None:
    async with working() as worker, connect(worker.address) as session:
        await greet(session)
        worker.parent.send(Order.STOP)
        await worker.ended.wait()
        assert trio.current_time() == GRACE


async def test_a_worker_that_retires_ends_with_its_last_session(sockets_on_mock_clock: MockClock) -> None:
    async with working() as worker, connect(worker.address) as session:
        await greet(session)
        worker.parent.send(Order.RETIRE)
        await trio.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            connect(worker.address)
        await trio.sleep(1.5 * GRACE)
        assert not worker.ended.is_set()
        await session.aclose()
        await worker.ended.wait()
        assert trio.current_time() == pytest.approx(1.5 * GRACE + 1, abs=1)


async def test_it_tells_its_state(sockets_on_mock_clock: MockClock, log: pytest.LogCaptureFixture) -> None:
    async with working() as worker, connect(worker.address) as session:
        await greet(session)
        worker.parent.send(Order.SHOW)
        worker.parent.send(Order.TELL)
        told = (await worker.parent.next()).message
        assert isinstance(told, Told)
        assert (told.summary.sessions, told.summary.hops) == (1, 0)
        await kill(signal.SIGTERM)
        await session.aclose()
    assert any(record.getMessage().startswith("state: 1 session; ") for record in log.records)


async def test_it_prepares_another_configuration_and_changes_when_it_is_told_to() -> None:
    """On the real clock, as a thread takes part."""
    changed = replace(config_of(grace=1), rules=(Rule(1, None),))
    other = Listener(Address("127.0.0.2", 0))
    async with working() as worker, connect(worker.address) as session:
        await greet(session)
        with reserve_listeners([other]) as [reserved]:
            for order in (Order.ABORT, Order.CHANGE):
                beside = bind_beside(reserved)
                worker.parent.send(Prepare(changed, [(ANY_PORT, 0), (other, None)]), [beside.sock])
                beside.close()
                assert (await worker.parent.next()).message == Prepared()
                with pytest.raises(ConnectionRefusedError):
                    connect(str(reserved))
                worker.parent.send(order)
            assert (await worker.parent.next()).message == Changed()
            for address in (worker.address, str(reserved)):
                async with connect(address) as client:
                    await greet(client)
                    await client.send(bytes.fromhex("05 01 00 01 7f000001 0001"))
                    assert (await read_exactly(client, 10))[1] == 2
            worker.parent.send(Order.END_NOW)
            await worker.ended.wait()


async def test_without_what_was_prepared_there_is_no_change(sockets_on_mock_clock: MockClock) -> None:
    async with working() as worker:
        worker.parent.send(Order.CHANGE)
        worker.parent.send(Order.ABORT)
        worker.parent.send(Order.TELL)
        assert isinstance((await worker.parent.next()).message, Told)
        worker.parent.send(Order.STOP)


async def test_what_cannot_be_prepared_is_said_and_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real clock, as a thread takes part."""

    def fail(*_: object) -> None:
        raise MemoryError

    async with working() as worker:
        monkeypatch.setattr(Service, "renewed", fail)
        worker.parent.send(Order.TELL)
        assert isinstance((await worker.parent.next()).message, Told), "it has started"
        before = descriptors()
        with socket.socket() as new:
            worker.parent.send(Prepare(config_of(), [(ANY_PORT, None)]), [new])
        assert (await worker.parent.next()).message == Prepared("MemoryError: ")
        assert descriptors() == before
        worker.parent.send(Order.STOP)


async def test_without_its_parent_it_takes_no_new_connections_and_lets_sessions_end(
    sockets_on_mock_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    async with working() as worker, connect(worker.address) as session, connect(worker.address) as other:
        await greet(session)
        await greet(other)
        await trio.sleep(1)
        worker.parent.close()
        await trio.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            connect(worker.address)
        assert not worker.ended.is_set()
        await other.aclose()
        await worker.ended.wait()
        assert trio.current_time() == 1 + GRACE
        with pytest.raises(BrokenResourceError):
            await session.receive()
    complaints = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    assert complaints == ["the parent process has died: no new connections, up to 60 s for the open ones"]


async def test_a_parent_that_goes_while_the_worker_stops_changes_nothing(sockets_on_mock_clock: MockClock) -> None:
    async with working() as worker, connect(worker.address) as session:
        await greet(session)
        await kill(signal.SIGTERM)
        worker.parent.close()
        await worker.ended.wait()
        assert trio.current_time() == GRACE


async def test_a_signal_that_came_too_early_is_not_lost(sockets_on_mock_clock: MockClock) -> None:
    async with working(signal.SIGTERM) as worker:
        await worker.ended.wait()
        assert trio.current_time() == 0


async def test_what_the_server_says_for_all_workers_they_do_not_say(
    sockets_on_mock_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    before = descriptors()
    async with working():
        await kill(signal.SIGTERM)
    assert descriptors() == before
    assert [record.getMessage() for record in log.records if record.levelno >= logging.INFO] == []


# --- its process


PROCESS = """
    import logging
    import os
    import signal
    import socket
    import sys

    from chainsocks.config.models import Config
    from chainsocks.observe.log import start_logging
    from chainsocks.server import worker
    from chainsocks.server.channel import open_channel
    from chainsocks.observe.record import Record

    async def serve(its: worker.Worker) -> None:
        print("open:", parent.sock.fileno() != -1)
        logging.getLogger("chainsocks.session").info("%s", str(Record("a client")).partition(" command")[0])
        {}

    worker.serve_as_worker = serve
    start_logging(logging.INFO)
    parent, ours = open_channel()
    print("once")
    try:
        worker.run_worker(worker.Worker(7, Config(), (), ours), parent.close)
    finally:
        print("the parent goes on")
"""
"""A worker that serves in its own way, in a process that has said something which is not written out yet."""


LATE = "(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)"
RAISE = f"[signal.raise_signal(number) for number in {LATE}]"


@pytest.mark.parametrize(
    ("serving", "status", "complaint"),
    [
        pytest.param("pass", 0, None, id="stopped"),
        pytest.param(
            "raise ExceptionGroup('', [RuntimeError('oh')])",
            1,
            "ERROR worker 7: a bug in chainsocks ended this worker: RuntimeError: oh",
            id="bug",
        ),
        pytest.param(
            "raise OSError(24, 'Too many open files')",
            1,
            "ERROR worker 7: this worker cannot go on: Too many open files (see `ulimit -n`)",
            id="descriptors",
        ),
        pytest.param(
            "sys.exit(5)", 1, "ERROR worker 7: a bug in chainsocks ended this worker: SystemExit: 5", id="exit"
        ),
        pytest.param(f"signal.pthread_sigmask(signal.SIG_UNBLOCK, {LATE}); {RAISE}", 0, None, id="late-signals"),
        pytest.param("sys.stdout.flush(); os.close(1); print('lost')", 0, None, id="output-closed"),
    ],
)
def test_a_process_is_a_worker_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, serving: str, status: int, complaint: str | None
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROCESS).format(serving)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stdout == "once\nopen: False\n"
    session, *more = [line.split(" ", 2)[2] for line in done.stderr.splitlines()]
    assert session == "INFO worker 7: id=7-1 client=a client"
    assert more == ([complaint] if complaint else [])
