"""What processes cost: those that live, their families, and those that are dead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chainsocks.tools.bench import accounting
from chainsocks.tools.bench.accounting import cpu_seconds, exists, family, resident_bytes

BURN = """
import time
def burn(seconds):
    while time.process_time() < seconds: pass
"""

NOBODY = 2**22 + 1
"""More than Linux gives to a process."""


@contextmanager
def running(program: str) -> Iterator[tuple[int, list[int]]]:
    """Run a program until it has said its numbers, and kill it at the end; yield its pid and the numbers."""
    with subprocess.Popen([sys.executable, "-c", BURN + program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield process.pid, [int(word) for word in process.stdout.readline().split()]
        finally:
            process.kill()


IDLE = "print(flush=True); time.sleep(60)"
GRANDCHILD = """
import os
child = os.fork()
if child:
    print(child, flush=True)
    os.wait()
else:
    burn(0.1)
    time.sleep(60)
"""
ORPHANS_ACCOUNT = """
import os
for _ in range(2):
    if os.fork() == 0:
        burn(0.1)
        os._exit(0)
    os.wait()
print(flush=True)
time.sleep(60)
"""
THREAD = """
import threading
thread = threading.Thread(target=burn, args=(0.1,))
thread.start()
thread.join()
print(flush=True)
time.sleep(60)
"""


def test_what_a_process_has_burnt() -> None:
    with running("burn(0.1); print(flush=True); time.sleep(60)") as (pid, _):
        assert 0.1 <= cpu_seconds([pid]) < 10


def test_a_thread_that_has_ended_is_counted() -> None:
    """As those of a server that has one for each session."""
    with running(THREAD) as (pid, _):
        assert cpu_seconds([pid]) >= 0.1


def test_a_child_is_part_of_its_parents_account() -> None:
    with running(GRANDCHILD) as (pid, [child]):
        while cpu_seconds([child]) < 0.1:
            pass
        assert family(pid) == (pid, child)
        assert cpu_seconds([pid]) >= cpu_seconds([child])
        assert cpu_seconds([pid, child]) == pytest.approx(cpu_seconds([pid]), rel=0.1), "it is not counted twice"
        os.kill(child, 9)


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
import os, signal
hold = bytes(range(256)) * (1 << 18)
child = os.fork()
if child:
    print(child, flush=True)
    signal.pause()
else:
    signal.pause()
"""


def test_pages_that_a_family_shares_count_once() -> None:
    with running(FORKED) as (pid, [child]):
        assert 1 << 26 <= resident_bytes([pid]) < 1.6 * (1 << 26)
        os.kill(child, 9)


def test_without_a_look_inside_the_resident_set_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As for a process of another user."""
    folder = tmp_path / str(os.getpid())
    folder.mkdir()
    (folder / "stat").write_text(f"{os.getpid()} (a) name) S 0 " + "0 " * 40)
    (folder / "statm").write_text("100 7 3 1 0 2 0")
    monkeypatch.setattr(accounting, "PROC", tmp_path)
    assert resident_bytes([os.getpid()]) == 7 * os.sysconf("SC_PAGE_SIZE")


def test_a_process_that_is_not_there() -> None:
    assert not exists(NOBODY)
    assert family(NOBODY) == ()
    assert cpu_seconds([NOBODY]) == 0
    assert resident_bytes([NOBODY]) == 0
    assert exists(os.getpid())


def test_one_that_has_ended_and_was_not_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not exists(process.pid)


def test_one_that_ends_while_it_is_looked_at_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "family", lambda pid: (NOBODY,))
    assert cpu_seconds([1]) == 0
    assert resident_bytes([1]) == 0
