from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import workers
from benchmarks.ceiling import NoCeiling
from benchmarks.peers import open_ours
from benchmarks.workers import SHARE, placed, workers_of


class Machine:
    """What is asked of the system, with as many cores as a test likes."""

    def __init__(self, cores: int, family: tuple[int, ...]) -> None:
        self.cores = set(range(cores))
        self.family = family
        self.pinned: dict[int, set[int]] = {}
        self.ceilings: dict[int, float] = {}

    def pin(self, pid: int, cores: set[int]) -> None:
        self.pinned[pid] = set(cores)

    @contextmanager
    def ceiling(self, pid: int, cores: float) -> Iterator[None]:
        self.ceilings[pid] = cores
        yield
        del self.ceilings[pid]


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, family: tuple[int, ...]) -> Machine:
    made = Machine(cores, family)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(made.cores))
    monkeypatch.setattr(os, "sched_setaffinity", made.pin)
    monkeypatch.setattr(workers, "ceiling", made.ceiling)
    monkeypatch.setattr(workers, "family", lambda _: made.family)
    return made


def test_with_enough_cores_each_has_its_own_and_the_load_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, 6, (10, 11, 12))
    with placed(10, [20, 21]):
        assert made.pinned == {11: {0}, 12: {1}, 0: {2, 3, 4, 5}, 20: {2, 3, 4, 5}, 21: {2, 3, 4, 5}}
        assert made.ceilings == {}
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
        assert made.ceilings == dict.fromkeys(family[1:] or family, SHARE)
    assert made.ceilings == {}


def test_what_cannot_be_had_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, 2, (10,))

    def refuse(*_: object) -> None:
        raise NoCeiling

    monkeypatch.setattr(workers, "ceiling", refuse)
    with pytest.raises(NoCeiling), placed(10, []):
        pass
    assert made.pinned[0] == made.cores


@pytest.mark.parametrize("count", [1, 2])
def test_workers_are_those_who_serve(tmp_path: Path, count: int) -> None:
    with open_ours(tmp_path, workers=count) as running:
        found = workers_of(running.pids[0])
        assert len(found) == count
        assert (running.pids[0] in found) == (count == 1)
