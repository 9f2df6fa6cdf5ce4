from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import cores as module
from benchmarks.cores import SHARE, CannotLimit, held_to_first, held_to_others, limited, placed, workers_of
from benchmarks.peers import open_ours

BUSY = """
import sys, time
sys.stdin.readline()
wall, cpu = time.monotonic(), time.process_time()
while time.monotonic() - wall < 0.5:
    pass
print((time.process_time() - cpu) / (time.monotonic() - wall))
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process that prints the share of its time for which it had a core, once it has read a line."""
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


@pytest.mark.measure
def test_a_process_gets_no_more_than_its_share(busy: subprocess.Popen[str]) -> None:
    try:
        with limited(busy.pid, 0.2):
            said, _ = busy.communicate("begin\n")
    except CannotLimit as error:
        busy.kill()
        pytest.skip(f"NOT TESTED: {error}")
    assert float(said) < 0.4, "it never gets more than its share, and on a busy machine less"


@pytest.mark.measure
def test_the_limit_is_lifted_again(busy: subprocess.Popen[str]) -> None:
    groups = Path(f"/proc/{busy.pid}/cgroup")
    before = groups.read_text()
    try:
        with limited(busy.pid, 0.2):
            assert groups.read_text() != before
    except CannotLimit as error:
        busy.kill()
        pytest.skip(f"NOT TESTED: {error}")
    assert "chainsocks" not in groups.read_text()
    busy.communicate("begin\n")


def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "mounts").write_text(text.format(tmp_path))
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "mounts")


def test_without_control_groups_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts(tmp_path, monkeypatch, "proc /proc proc rw 0 0\ncgroup {} cgroup rw,cpuset 0 0\n")
    with pytest.raises(CannotLimit, match="there are no control groups for CPU time here"), limited(1, 0.5):
        pass


def test_without_permission_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts(tmp_path, monkeypatch, "cgroup {}/absent cgroup rw,cpu 0 0\n")
    with pytest.raises(CannotLimit, match="no control group can be made: No such file"), limited(1, 0.5):
        pass


def test_the_second_version_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts(tmp_path, monkeypatch, "cgroup2 {} cgroup2 rw 0 0\n")
    (tmp_path / "cgroup.controllers").write_text("memory cpu pids")
    written: dict[str, str] = {}
    monkeypatch.setattr(
        Path, "write_text", lambda path, text: written.update({f"{path.parent.name}/{path.name}": text})
    )
    with limited(7, 0.25):
        assert (tmp_path / "chainsocks-benchmark-7").is_dir()
    root = tmp_path.name
    assert written == {
        f"{root}/cgroup.subtree_control": "+cpu",
        "chainsocks-benchmark-7/cpu.max": "2500 10000",
        "chainsocks-benchmark-7/cgroup.procs": "7",
        f"{root}/cgroup.procs": "7",
    }
    assert not (tmp_path / "chainsocks-benchmark-7").exists()


class Machine:
    """What is asked of a system with so many cores."""

    def __init__(self, cores: int, family: tuple[int, ...]) -> None:
        self.cores = set(range(cores))
        self.family = family
        self.pinned: dict[int, set[int]] = {}
        self.limits: dict[int, float] = {}

    def pin(self, pid: int, cores: set[int]) -> None:
        self.pinned[pid] = set(cores)

    @contextmanager
    def limit(self, pid: int, cores: float) -> Iterator[None]:
        self.limits[pid] = cores
        yield
        del self.limits[pid]


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, family: tuple[int, ...]) -> Machine:
    made = Machine(cores, family)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(made.cores))
    monkeypatch.setattr(os, "sched_setaffinity", made.pin)
    monkeypatch.setattr(module, "limited", made.limit)
    monkeypatch.setattr(module, "family", lambda _: made.family)
    return made


def test_with_enough_cores_each_has_its_own_and_the_load_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, 6, (10, 11, 12))
    with placed(10, [20, 21]):
        assert made.pinned == {11: {0}, 12: {1}, 0: {2, 3, 4, 5}, 20: {2, 3, 4, 5}, 21: {2, 3, 4, 5}}
        assert made.limits == {}
    assert made.pinned[0] == made.cores


def test_one_worker_leaves_the_load_where_it_is_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, 4, (10,))
    with placed(10, [20]):
        assert made.pinned == {10: {0}, 0: {2, 3}, 20: {2, 3}}


@pytest.mark.parametrize("family", [(11,), (10, 11, 12)])
def test_with_few_cores_each_worker_has_a_share_of_its_own(
    monkeypatch: pytest.MonkeyPatch, family: tuple[int, ...]
) -> None:
    made = machine(monkeypatch, 2, family)
    with placed(family[0], [20]):
        assert made.pinned[11] == {0}
        assert made.pinned.get(12, {1}) == {1}
        assert made.pinned[0] == made.pinned[20] == {0, 1}
        assert made.limits == dict.fromkeys(family[1:] or family, SHARE)
    assert made.limits == {}


def test_what_cannot_be_had_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, 2, (10,))

    def refuse(*_: object) -> None:
        raise CannotLimit

    monkeypatch.setattr(module, "limited", refuse)
    with pytest.raises(CannotLimit), placed(10, []):
        pass
    assert made.pinned[0] == made.cores


@pytest.mark.measure
@pytest.mark.parametrize("count", [1, 2])
def test_workers_are_those_who_serve(tmp_path: Path, count: int) -> None:
    with open_ours(tmp_path, workers=count) as running:
        found = workers_of(running.pids[0])
        assert len(found) == count
        assert (running.pids[0] in found) == (count == 1)


def test_a_server_has_the_first_core_and_its_load_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, 3, ())
    with held_to_first():
        assert made.pinned == {0: {0}}
    assert made.pinned == {0: {0, 1, 2}}
    with held_to_others():
        assert made.pinned == {0: {1, 2}}
    assert made.pinned == {0: {0, 1, 2}}


def test_one_core_is_too_few_for_a_server_and_its_load(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, 1, ())
    with pytest.raises(CannotLimit, match="the load needs a core of its own"), held_to_first():
        pass
    assert made.pinned == {}
