"""Workers: what is decided about them, and a parent among processes that only exist on paper.

The real ones are in ``tests/e2e/test_workers.py``.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.models import Config, Server
from chainsocks.errors import ConfigError
from chainsocks.server.workers import count_workers, next_pause, serve_with_workers, share_out, share_ports
from tests.net.sockets import descriptors
from tests.server.serving import ANY_PORT

# --- how many, and for how many sessions


@pytest.mark.parametrize(
    ("total", "workers", "shares"),
    [(10, 1, [10]), (10, 2, [5, 5]), (10, 3, [4, 3, 3]), (10, 4, [3, 3, 2, 2]), (3, 3, [1, 1, 1])],
)
def test_the_shares_add_up(total: int, workers: int, shares: list[int]) -> None:
    assert share_out(total, workers) == shares
    assert sum(shares) == total


@pytest.mark.parametrize(
    ("ports", "workers", "shares"),
    [
        (range(1), 3, [range(1)] * 3),
        (range(100, 110), 1, [range(100, 110)]),
        (range(100, 110), 3, [range(100, 104), range(104, 107), range(107, 110)]),
        (range(100, 103), 3, [range(100, 101), range(101, 102), range(102, 103)]),
        (range(100, 102), 3, [range(100, 102)] * 3),
    ],
)
def test_each_worker_has_its_ports(ports: range, workers: int, shares: list[range]) -> None:
    assert share_ports(ports, workers) == shares


@pytest.mark.parametrize(
    ("workers", "cores", "max_sessions", "processes"),
    [
        pytest.param(1, 4, 100, 1, id="one"),
        pytest.param(3, 2, 100, 3, id="more-than-cores"),
        pytest.param(0, 4, 100, 4, id="one-per-core"),
        pytest.param(0, 1, 100, 1, id="one-core"),
        pytest.param(0, 4, 3, 3, id="one-per-core-and-no-more-than-sessions"),
    ],
)
def test_how_many_there_are(
    monkeypatch: pytest.MonkeyPatch, workers: int, cores: int, max_sessions: int, processes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(10, 10 + cores)))
    assert count_workers(Server(workers=workers, max_sessions=max_sessions)) == processes


@pytest.mark.parametrize(
    ("module", "name"),
    [(os, "fork"), (signal, "sigtimedwait"), (socket, "SO_REUSEPORT")],
    ids=["fork", "sigtimedwait", "SO_REUSEPORT"],
)
def test_a_system_without_what_workers_need(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    monkeypatch.delattr(module, name)
    assert [count_workers(Server(workers=number)) for number in (0, 1)] == [1, 1]
    with pytest.raises(ConfigError) as caught:
        count_workers(Server(workers=2))
    assert str(caught.value) == (
        "server.workers: processes cannot share a port on this system, as they can on Linux; leave it at 1"
    )


def test_where_cores_cannot_be_counted_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_workers(Server(workers=0)) == 1


# --- how long until a dead one is replaced


@pytest.mark.parametrize(
    ("last", "lived", "pause"),
    [
        pytest.param(0, 0, 0.1, id="the-first-at-once"),
        pytest.param(0.1, 0, 0.2, id="the-second"),
        pytest.param(0.2, 9.9, 0.4, id="after-a-short-life"),
        pytest.param(12.8, 0, 25.6, id="the-ninth"),
        pytest.param(25.6, 0, 30, id="never-longer"),
        pytest.param(30, 0, 30, id="never-ever"),
        pytest.param(30, 10, 0.1, id="after-a-long-life"),
        pytest.param(0, 1000, 0.1, id="the-first-after-a-long-life"),
    ],
)
def test_the_pause_before_a_replacement(last: float, lived: float, pause: float) -> None:
    assert next_pause(last, lived) == pause


# --- a parent among processes that only exist on paper


@dataclass
class Machine:
    """Processes that are born and die as a test says, and a clock that only waiting moves.

    Each worker has one entry in `lives`: how long it lives, or the error of the fork that would have made it. When they
    are used up, the parent receives `signals`, one after the other. A signal in `fatal` ends a worker at once; after
    any other it lives for `drain` seconds at most.
    """

    lives: list[float | OSError]
    signals: list[signal.Signals] = field(default_factory=lambda: [signal.SIGTERM])
    fatal: tuple[int, ...] = (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL)
    drain: float = math.inf
    now: float = 1000.0
    dies_at: dict[int, float] = field(default_factory=dict)
    pids: Iterator[int] = field(default_factory=lambda: iter(range(100, 1000)))
    told: list[tuple[int, int]] = field(default_factory=list)

    WNOHANG = 1

    def monotonic(self) -> float:
        return self.now

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
        self.dies_at[pid] = self.now if number in self.fatal else min(self.dies_at[pid], self.now + self.drain)

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        if self.dies_at[pid] > self.now:
            assert options == self.WNOHANG
            return 0, 0
        del self.dies_at[pid]
        return pid, 256

    def waitstatus_to_exitcode(self, status: int) -> int:
        return os.waitstatus_to_exitcode(status)

    def next_signal(self, until: float = math.inf) -> signal.Signals | None:
        if not self.lives and self.signals:
            return self.signals.pop(0)
        if min([until, *self.dies_at.values()]) == math.inf:
            pytest.fail("the parent waits for ever")
        self.now = max(self.now, min([until, *self.dies_at.values()]))
        return signal.SIGCHLD if self.now in self.dies_at.values() else None


@pytest.fixture
def on_paper(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Have the parent run on a machine of paper."""

    def make(*lives: float | OSError) -> Machine:
        machine = Machine([*lives])
        monkeypatch.setattr("chainsocks.server.workers.os", machine)
        monkeypatch.setattr("chainsocks.server.workers.time", SimpleNamespace(monotonic=machine.monotonic))
        monkeypatch.setattr("chainsocks.server.workers._next_signal", machine.next_signal)
        monkeypatch.setattr("chainsocks.server.workers._signals_blocked", nullcontext)
        return machine

    return make


CONFIG = Config(Server(listen=(ANY_PORT,)))
AT_ONCE, LONG, FOR_EVER = 0.0, 11.0, math.inf


def warned(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


def test_a_worker_that_dies_at_once_is_replaced_ever_more_slowly(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    machine = on_paper(AT_ONCE, FOR_EVER, *[AT_ONCE] * 9, LONG, FOR_EVER)
    serve_with_workers(CONFIG, 2)
    pauses = [float(line.split()[-2]) for line in warned(log) if "replaced" in line]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 0.1]
    assert machine.now - 1000 == pytest.approx(sum(pauses) + LONG)
    assert machine.dies_at == {}


def test_each_worker_has_a_number_of_its_own(on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture) -> None:
    on_paper(5, FOR_EVER, LONG, FOR_EVER)
    serve_with_workers(CONFIG, 2)
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
    serve_with_workers(CONFIG, 2)
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
            [signal.SIGINT, signal.SIGINT], [signal.SIGQUIT], [signal.SIGTERM, signal.SIGQUIT], id="a-second-signal"
        ),
        pytest.param(
            [signal.SIGTERM, signal.SIGINT, signal.SIGTERM],
            [signal.SIGKILL],
            [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL],
            id="a-third-signal",
        ),
    ],
)
def test_each_signal_is_passed_on_to_all_workers_as_a_harsher_one(
    on_paper: Callable[..., Machine],
    received: list[signal.Signals],
    fatal: list[signal.Signals],
    told: list[signal.Signals],
) -> None:
    machine = on_paper(FOR_EVER, FOR_EVER)
    machine.signals, machine.fatal = received, (*fatal,)
    serve_with_workers(CONFIG, 2)
    assert machine.told == [(pid, number) for number in told for pid in (100, 101)]
    assert (machine.dies_at, machine.now) == ({}, 1000)


def test_the_parent_waits_until_all_workers_have_drained(
    on_paper: Callable[..., Machine], log: pytest.LogCaptureFixture
) -> None:
    machine = on_paper(3, 5, FOR_EVER)  # the first one is replaced, and the second is the first to have drained
    machine.fatal, machine.drain = (), 7
    serve_with_workers(CONFIG, 2)
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
        serve_with_workers(Config(Server(listen=(ANY_PORT, Listener(UnixPath(str(path)))))), 3)
    assert (caught.value.filename, caught.value.strerror) == ("worker 3", "Resource temporarily unavailable")
    assert machine.told == [(100, signal.SIGKILL), (101, signal.SIGKILL)]
    assert machine.dies_at == {}
    assert descriptors() == before
    assert not path.exists()
    assert not any("listening" in record.getMessage() for record in log.records)
