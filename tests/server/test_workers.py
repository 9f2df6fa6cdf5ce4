"""The parent of the workers, among processes that only exist on paper.

The real ones are in ``tests/e2e/test_workers.py``.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.models import Config, Server
from chainsocks.errors import ConfigError, Problem
from chainsocks.protocol.address import Address
from chainsocks.server.channel import Received
from chainsocks.server.orders import Changed, DrainPlease, Order, Prepare, Prepared, Reloaded, ReloadPlease
from chainsocks.server.reload import Reading
from chainsocks.server.workers import serve_with_workers
from tests.net.sockets import descriptors
from tests.server.serving import ANY_PORT

Told = int | Order | type


class PaperChannel:
    """The parent's channel to a worker, or to another process that asks for something."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.pid = 0
        self.answers: list[object] = []
        self.sent: list[object] = []

    def send(self, message: object, sockets: Sequence[object] = ()) -> None:
        machine = self.machine
        self.sent.append(message)
        if not self.pid:
            return
        told = message if isinstance(message, Order) else type(message)
        machine.told.append((self.pid, told))
        if isinstance(message, Prepare):
            self.answers += filter(None, [machine.prepared.get(self.pid, Prepared())])
        elif message is Order.CHANGE and self.pid not in machine.stuck:
            self.answers.append(Changed())
        elif message is Order.END_NOW:
            machine.end(self.pid, at_once=Order.END_NOW in machine.fatal)

    def receive(self) -> Received | None:
        if self.pid and self.pid in machine_dead(self.machine):
            raise EOFError
        return Received(self.answers.pop(0)) if self.answers else None

    def close(self) -> None:
        pass


def machine_dead(machine: Machine) -> set[int]:
    """The processes that have died."""
    return {pid for pid, dies_at in machine.dies_at.items() if dies_at <= machine.now}


@dataclass
class Machine:
    """Processes that are born and die as a test says, and a clock that only waiting moves.

    Each worker has one entry in `lives`: how long it lives, or the error of the fork that would have made it. When they
    are used up, the parent receives `signals`, one after the other. What is in `fatal` ends a worker at once; after
    any other it lives for `drain` seconds at most.
    """

    lives: list[float | OSError]
    signals: list[signal.Signals] = field(default_factory=lambda: [signal.SIGTERM])
    fatal: tuple[Told, ...] = (signal.SIGTERM, Order.END_NOW, signal.SIGKILL)
    drain: float = math.inf
    prepared: dict[int, Prepared | None] = field(default_factory=dict)
    """What workers answer when they are to prepare a change; None for nothing."""
    stuck: tuple[int, ...] = ()
    """Workers that do not change."""
    is_slow: bool = False
    """Whether all signals have come before the parent looks."""
    now: float = 1000.0
    dies_at: dict[int, float] = field(default_factory=dict)
    pids: Iterator[int] = field(default_factory=lambda: iter(range(100, 1000)))
    told: list[tuple[int, Told]] = field(default_factory=list)
    channels: list[PaperChannel] = field(default_factory=list)

    WNOHANG = 1

    def monotonic(self) -> float:
        return self.now

    def open_channel(self) -> tuple[PaperChannel, PaperChannel]:
        return PaperChannel(self), PaperChannel(self)

    def fork(self) -> int:
        life = self.lives.pop(0)
        if isinstance(life, OSError):
            raise life
        pid = next(self.pids)
        self.dies_at[pid] = self.now + life
        return pid

    def kill(self, pid: int, number: int) -> None:
        assert pid in self.dies_at
        self.told.append((pid, number))
        self.end(pid, at_once=number in self.fatal)

    def end(self, pid: int, *, at_once: bool) -> None:
        self.dies_at[pid] = self.now if at_once else min(self.dies_at[pid], self.now + self.drain)

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        if self.dies_at[pid] > self.now:
            assert options == self.WNOHANG
            return 0, 0
        del self.dies_at[pid]
        return pid, 256

    def waitstatus_to_exitcode(self, status: int) -> int:
        return os.waitstatus_to_exitcode(status)

    # The parent's inbox.

    def add(self, channel: PaperChannel) -> None:
        channel.pid = max(self.dies_at)
        self.channels.append(channel)

    def remove(self, channel: PaperChannel) -> None:
        self.channels.remove(channel)

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def wait(self, until: float = math.inf) -> tuple[list[signal.Signals], list[PaperChannel]]:
        if answered := [each for each in self.channels if each.answers or each.pid in machine_dead(self)]:
            return [], answered
        if not self.lives and self.signals and until in (math.inf, self.now):
            together = len(self.signals) if self.is_slow else 1
            received, self.signals[:] = self.signals[:together], self.signals[together:]
            return received, []
        if min([until, *self.dies_at.values()]) == math.inf:
            pytest.fail("the parent waits for ever")
        self.now = max(self.now, min([until, *self.dies_at.values()]))
        return ([signal.SIGCHLD] if self.now in self.dies_at.values() else []), []


@pytest.fixture
def on_paper(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Have the parent run on a machine of paper."""

    def make(*lives: float | OSError) -> Machine:
        machine = Machine([*lives])
        clock = SimpleNamespace(monotonic=machine.monotonic)
        monkeypatch.setattr("chainsocks.server.pool.os", machine)
        monkeypatch.setattr("chainsocks.server.pool.time", clock)
        monkeypatch.setattr("chainsocks.server.pool.open_channel", machine.open_channel)
        monkeypatch.setattr("chainsocks.server.workers.time", clock)
        monkeypatch.setattr("chainsocks.server.workers.opened_inbox", lambda: nullcontext(machine))
        return machine

    return make


def unread() -> Reading:
    """Fail: the configuration is not to be read."""
    pytest.fail("it is read")


CONFIG = Config(Server(listen=(ANY_PORT,)))
AT_ONCE, LONG, FOR_EVER = 0.0, 11.0, math.inf


def warned(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


def test_a_worker_that_dies_at_once_is_replaced_ever_more_slowly(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    machine = on_paper(AT_ONCE, FOR_EVER, *[AT_ONCE] * 9, LONG, FOR_EVER)
    serve_with_workers(CONFIG, 2, unread)
    pauses = [float(line.split()[-2]) for line in warned(log) if "replaced" in line]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 0.1]
    assert machine.now - 1000 == pytest.approx(sum(pauses) + LONG)
    assert machine.dies_at == {}


def test_each_worker_has_a_number_of_its_own(on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture) -> None:
    on_paper(5, FOR_EVER, LONG, FOR_EVER)
    serve_with_workers(CONFIG, 2, unread)
    lines = [record.getMessage() for record in log.records]
    assert [line for line in lines if line.startswith("worker")][:6] == [
        "worker 1 (pid 100) has started",
        "worker 2 (pid 101) has started",
        "worker 1 (pid 100) ended with status 1; it is replaced in 0.1 s",
        "worker 3 (pid 102) has started",
        "worker 3 (pid 102) ended with status 1; it is replaced in 0.1 s",
        "worker 4 (pid 103) has started",
    ]


def test_a_replacement_that_cannot_start_is_tried_again(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    no_more = BlockingIOError(11, "Resource temporarily unavailable")
    machine = on_paper(LONG, FOR_EVER, no_more, no_more, FOR_EVER)
    serve_with_workers(CONFIG, 2, unread)
    assert warned(log)[:3] == [
        "worker 1 (pid 100) ended with status 1; it is replaced in 0.1 s",
        "worker 3 cannot start: Resource temporarily unavailable; trying again in 0.2 s",
        "worker 4 cannot start: Resource temporarily unavailable; trying again in 0.4 s",
    ]
    assert machine.now - 1000 == pytest.approx(LONG + 0.7)


# --- stopping


@pytest.mark.parametrize(
    ("received", "fatal", "told"),
    [
        pytest.param([signal.SIGTERM], [signal.SIGTERM], [signal.SIGTERM], id="workers-without-sessions"),
        pytest.param(
            [signal.SIGINT, signal.SIGINT], [Order.END_NOW], [signal.SIGTERM, Order.END_NOW], id="a-second-signal"
        ),
        pytest.param(
            [signal.SIGTERM, signal.SIGINT, signal.SIGTERM],
            [signal.SIGKILL],
            [signal.SIGTERM, Order.END_NOW, signal.SIGKILL],
            id="a-third-signal",
        ),
    ],
)
def test_each_signal_is_passed_on_to_all_workers_as_a_harsher_one(
    on_paper: Callable[..., Machine],
    received: list[signal.Signals],
    fatal: list[Told],
    told: list[Told],
) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.signals, machine.fatal = received, (*fatal,)
    serve_with_workers(CONFIG, 2, unread)
    assert machine.told == [(pid, number) for number in told for pid in (100, 101)]
    assert (machine.dies_at, machine.now) == ({}, 1000)


def test_the_parent_waits_until_all_workers_have_drained(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    machine = on_paper(3, 5, FOR_EVER)  # the first one is replaced, and the second is the first to have drained
    machine.fatal, machine.drain = (), 7
    serve_with_workers(CONFIG, 2, unread)
    assert machine.told == [(102, signal.SIGTERM), (101, signal.SIGTERM)]
    assert machine.now == pytest.approx(1000 + 3 + 0.1 + 7)
    assert machine.dies_at == {}
    ended = [line for record in log.records if (line := record.getMessage()).endswith("ended with status 1")]
    assert ended == ["worker 2 (pid 101) ended with status 1", "worker 3 (pid 102) ended with status 1"]
    assert log.records[-1].getMessage() == "stopped"


def test_a_server_that_cannot_start_all_workers_does_not_start(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path, before = tmp_path / "s", descriptors()
    machine = on_paper(FOR_EVER, FOR_EVER, BlockingIOError(11, "Resource temporarily unavailable"))
    with pytest.raises(OSError) as caught:  # noqa: PT011  (what it says is looked at)
        serve_with_workers(Config(Server(listen=(ANY_PORT, Listener(UnixPath(str(path)))))), 3, unread)
    assert (caught.value.filename, caught.value.strerror) == ("worker 3", "Resource temporarily unavailable")
    assert machine.told == [(100, signal.SIGKILL), (101, signal.SIGKILL)]
    assert machine.dies_at == {}
    assert descriptors() == before
    assert not path.exists()
    assert not any("listening" in record.getMessage() for record in log.records)


# --- another configuration


@dataclass
class File:
    """A configuration file of paper."""

    found: Config | ConfigError

    def read(self) -> Reading:
        if isinstance(self.found, ConfigError):
            raise self.found
        return Reading(self.found, "c.toml")


CHANGED = Config(Server(listen=(ANY_PORT, Listener(Address("127.0.0.2", 0))), workers=2, max_sessions=100))


def reload(machine: Machine, found: Config | ConfigError = CHANGED) -> list[tuple[int, Told]]:
    """Have the parent reload once and then stop; return what workers were told before that."""
    machine.signals = [signal.SIGHUP, signal.SIGTERM]
    serve_with_workers(CONFIG, 2, File(found).read)
    assert machine.dies_at == {}
    return machine.told[: next(index for index, (_, told) in enumerate(machine.told) if told is signal.SIGTERM)]


def test_all_workers_prepare_a_change_and_then_all_change(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    before = descriptors()
    machine = on_paper(FOR_EVER, FOR_EVER)
    assert reload(machine) == [(100, Prepare), (101, Prepare), (100, Order.CHANGE), (101, Order.CHANGE)]
    assert descriptors() == before
    lines = [record.getMessage() for record in log.records]
    assert "reloaded: new sessions use c.toml" in lines
    assert [line for line in lines if line.startswith("listening on")][1].count("127.0.0.") == 2


@pytest.mark.parametrize(
    ("answer", "problem", "seconds"),
    [
        (Prepared("MemoryError: "), "worker 2 (pid 101) cannot prepare for it: MemoryError: ", 0),
        (None, "worker 2 (pid 101) has not answered within 30 s", 30),
    ],
    ids=["trouble", "silence"],
)
def test_if_one_worker_cannot_prepare_it_none_changes(
    on_paper: Callable[..., Machine],
    log: pytest.LogCaptureFixture,
    answer: Prepared | None,
    problem: str,
    seconds: float,
) -> None:
    before = descriptors()
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.prepared[101] = answer
    assert reload(machine) == [(100, Prepare), (101, Prepare), (100, Order.ABORT), (101, Order.ABORT)]
    assert machine.now == 1000 + seconds
    assert descriptors() == before
    assert warned(log)[:2] == [problem, "not reloaded: the server goes on with the configuration that it had"]


def test_a_worker_that_does_not_change_is_killed_and_so_replaced(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.stuck, machine.signals = (101,), [signal.SIGHUP, signal.SIGTERM]

    def read() -> Reading:
        machine.lives.append(FOR_EVER)  # that of the replacement
        return Reading(CHANGED, "c.toml")

    serve_with_workers(CONFIG, 2, read)
    assert (101, signal.SIGKILL) in machine.told
    assert "worker 2 (pid 101) has not changed to the new configuration within 10 s; it is killed" in warned(log)
    assert "worker 3 (pid 102) has started" in [record.getMessage() for record in log.records]


def test_a_worker_that_dies_before_it_has_prepared_holds_nothing_up(on_paper: Callable[..., Machine]) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.prepared[101], machine.signals = None, [signal.SIGHUP, signal.SIGTERM]

    def read() -> Reading:
        machine.dies_at[101] = machine.now + 3
        machine.lives.append(FOR_EVER)
        return Reading(CHANGED, "c.toml")

    serve_with_workers(CONFIG, 2, read)
    assert (100, Order.CHANGE) in machine.told
    assert machine.now < 1010


def test_many_signals_at_a_time_are_one_reload(on_paper: Callable[..., Machine]) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.is_slow, machine.signals = True, [signal.SIGHUP, signal.SIGUSR1, *[signal.SIGHUP] * 50]

    def read() -> Reading:
        machine.signals.append(signal.SIGTERM)
        return Reading(CHANGED, "c.toml")

    serve_with_workers(CONFIG, 2, read)
    assert [told for pid, told in machine.told if pid == 100] == [Prepare, Order.CHANGE, Order.SHOW, signal.SIGTERM]


def test_a_signal_that_stops_the_server_is_first(on_paper: Callable[..., Machine]) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.is_slow, machine.signals = True, [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM]
    serve_with_workers(CONFIG, 2, unread)
    assert machine.told == [(100, signal.SIGTERM), (101, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("workers", "told", "started"),
    [
        (1, [(100, Prepare), (100, Order.CHANGE), (101, Order.RETIRE)], 2),
        (3, [(100, Prepare), (101, Prepare), (100, Order.CHANGE), (101, Order.CHANGE)], 3),
    ],
)
def test_the_number_of_workers_can_change(
    on_paper: Callable[..., Machine],
    log: pytest.LogCaptureFixture,
    workers: int,
    told: list[tuple[int, Told]],
    started: int,
) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)

    def read() -> Reading:
        machine.lives += [FOR_EVER] * (started - 2)
        return Reading(replace(CONFIG, server=replace(CONFIG.server, workers=workers, max_sessions=12)), "c.toml")

    machine.signals = [signal.SIGHUP, signal.SIGTERM]
    serve_with_workers(CONFIG, 2, read)
    assert machine.told[: len(told)] == told
    assert machine.told[len(told) :] == [(100 + index, signal.SIGTERM) for index in range(started)]
    lines = [record.getMessage() for record in log.records]
    assert sum(line.endswith("has started") for line in lines) == started


def test_a_wrong_file_reaches_no_worker(on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    assert reload(machine, ConfigError([Problem("a", "is odd"), Problem("b", "too")], "c.toml")) == []
    assert warned(log)[:2] == ["c.toml: a: is odd", "c.toml: b: too"]


def test_another_process_can_ask_for_a_reload_and_a_drain(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    asking = PaperChannel(machine)
    asking.answers = [ReloadPlease(), DrainPlease(5)]
    machine.channels.append(asking)
    machine.signals = []
    serve_with_workers(CONFIG, 2, File(CHANGED).read)
    [answer] = asking.sent
    assert isinstance(answer, Reloaded)
    assert answer.outcome.is_applied
    assert machine.now == 1005
    assert "drained: no new connections, up to 10 s for the open ones" in [each.getMessage() for each in log.records]


def test_the_state_is_shown_by_each_worker(on_paper: Callable[..., Machine]) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.signals = [signal.SIGUSR1, signal.SIGTERM]
    serve_with_workers(CONFIG, 2, unread)
    assert machine.told[:2] == [(100, Order.SHOW), (101, Order.SHOW)]
