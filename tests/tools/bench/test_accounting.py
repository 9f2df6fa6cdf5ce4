"""What processes cost, living and ended, and how many files they may open."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench import accounting
from chainsocks.tools.bench.accounting import (
    RESERVE,
    Cost,
    Meter,
    cpu_seconds,
    exists,
    family,
    free_descriptors,
    resident_bytes,
)
from tests.background import wait_until

BURN = """
import sys, time
wait = sys.stdin.read
def burn(seconds):
    while time.process_time() < seconds: pass
"""

ABSENT = 2**22 + 1
"""More than Linux gives to a process."""


@contextmanager
def running(program: str) -> Iterator[tuple[int, list[int]]]:
    """Run a program until it has printed its numbers; yield its pid and the numbers. It ends when this test does."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", BURN + program], stdin=pipe, stdout=pipe) as process:
        assert process.stdout
        yield process.pid, [int(word) for word in process.stdout.readline().split()]
        process.communicate()


IDLE = "print(flush=True); wait()"
GRANDCHILD = """
import os
child = os.fork()
if child:
    print(child, flush=True)
else:
    burn(0.1)
wait()
"""
ORPHANS_ACCOUNT = """
import os
for _ in range(2):
    if os.fork() == 0:
        burn(0.1)
        os._exit(0)
    os.wait()
print(flush=True)
wait()
"""
THREAD = """
import threading
thread = threading.Thread(target=burn, args=(0.1,))
thread.start()
thread.join()
print(flush=True)
wait()
"""


def test_what_a_process_has_burnt() -> None:
    with running("burn(0.1); print(flush=True); wait()") as (pid, _):
        assert cpu_seconds([pid]) >= 0.1


def test_a_thread_that_has_ended_is_counted() -> None:
    """As those of a server that has one for each session."""
    with running(THREAD) as (pid, _):
        assert cpu_seconds([pid]) >= 0.1


def test_a_child_is_part_of_its_parents_account() -> None:
    with running(GRANDCHILD) as (pid, [child]):
        wait_until(lambda: cpu_seconds([child]) >= 0.1)
        assert family(pid) == (pid, child)
        assert cpu_seconds([pid]) >= cpu_seconds([child])
        assert cpu_seconds([pid, child]) == pytest.approx(cpu_seconds([pid]), rel=0.1), "it is not counted twice"


def test_a_child_that_is_dead_is_counted() -> None:
    with running(ORPHANS_ACCOUNT) as (pid, _):
        assert family(pid) == (pid,)
        assert cpu_seconds([pid]) >= 0.18, "two that burnt a tenth of a second each, but for the kernel's ticks"


def test_several_are_added_up() -> None:
    with running("burn(0.1);" + IDLE) as (one, _), running("burn(0.1);" + IDLE) as (other, _):
        assert cpu_seconds([one, other]) >= 0.2
        assert cpu_seconds([one, other, one]) == pytest.approx(cpu_seconds([one]) + cpu_seconds([other]), rel=0.1)


def test_memory_that_is_taken_is_seen() -> None:
    with running(IDLE) as (small, _), running("hold = bytes(range(256)) * (1 << 16);" + IDLE) as (great, _):
        assert resident_bytes([small]) > 1 << 20
        assert 0.9 < (resident_bytes([great]) - resident_bytes([small])) / (1 << 24) < 1.2
        assert resident_bytes([small, great]) > resident_bytes([great])


FORKED = """
import os
hold = bytes(range(256)) * (1 << 18)
child = os.fork()
if child:
    print(child, flush=True)
wait()
"""


def test_pages_that_a_family_shares_count_once() -> None:
    with running(FORKED) as (pid, _):
        assert 1 << 26 <= resident_bytes([pid]) < 1.6 * (1 << 26)


def test_without_a_look_inside_the_resident_set_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As for a process of another user."""
    folder = tmp_path / str(os.getpid())
    folder.mkdir()
    (folder / "stat").write_text(f"{os.getpid()} (a) name) S 0 " + "0 " * 40)
    (folder / "statm").write_text("100 7 3 1 0 2 0")
    monkeypatch.setattr(accounting, "PROC", tmp_path)
    assert resident_bytes([os.getpid()]) == 7 * os.sysconf("SC_PAGE_SIZE")


def test_a_process_that_is_not_there() -> None:
    assert not exists(ABSENT)
    assert family(ABSENT) == ()
    assert cpu_seconds([ABSENT]) == 0
    assert resident_bytes([ABSENT]) == 0
    assert exists(os.getpid())


def test_one_that_has_ended_and_was_not_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not exists(process.pid)


def test_one_that_ends_while_it_is_looked_at_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "family", lambda pid: (ABSENT,))
    assert cpu_seconds([1]) == 0
    assert resident_bytes([1]) == 0


def test_a_meter_measures_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = {(1, 2): iter((10.0, 10.5)), (3,): iter((7.0, 7.25))}
    monkeypatch.setattr(accounting, "cpu_seconds", lambda pids: next(cpu[tuple(pids)]))
    monkeypatch.setattr(time, "monotonic", iter((100.0, 102.0)).__next__)
    monkeypatch.setattr(time, "process_time", iter((5.0, 6.0)).__next__)
    assert Meter((1, 2), (3,)).stop() == Cost(seconds=2.0, relay=0.5, load=1.0, far_end=0.25)


def test_without_watched_processes_the_relay_has_no_cost() -> None:
    cost = Meter((), (os.getpid(),)).stop()
    assert cost.relay is None
    assert cost.seconds > 0


@pytest.mark.parametrize(
    ("cost", "busy"),
    [
        (Cost(2, 1.0, 1.9, 0), True),
        (Cost(2, None, 0, 1.9), True),
        (Cost(2, 1.0, 1.7, 1.7), False),
        (Cost(2, 1.9, 1.9, 0), False),
    ],
)
def test_a_load_that_sets_the_pace(cost: Cost, *, busy: bool) -> None:
    assert cost.load_was_busy == busy


@pytest.fixture
def few() -> Iterator[int]:
    """A limit of 256 open files, which may be raised."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield 256
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_is_open_is_not_free(few: int) -> None:
    before = free_descriptors()
    assert 0 < before < few - RESERVE
    with open("/dev/null") as _, open("/dev/null") as _second:  # noqa: PTH123
        assert free_descriptors() == before - 2
    assert free_descriptors() == before


def test_the_limit_is_raised_as_far_as_it_goes(few: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = free_descriptors()
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert free_descriptors() == before + hard - few


def test_fewer_than_the_reserve_is_none(few: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (RESERVE, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    assert free_descriptors() == 0
