"""A run of the bench: its ways, its steps, its figures, and the notes beside them."""

from __future__ import annotations

import os

import pytest

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.errors import ConnectError
from chainsocks.protocol.address import Address
from chainsocks.tools.bench import run
from chainsocks.tools.bench.accounting import Cost, exists
from chainsocks.tools.bench.bulk import Bulk
from chainsocks.tools.bench.echo import Echo
from chainsocks.tools.bench.figures import FIGURES, Sample
from chainsocks.tools.bench.hops import RunningHop
from chainsocks.tools.bench.run import (
    ECHO,
    ECHO_BESIDE,
    IDLE,
    SESSIONS,
    Effort,
    Part,
    Step,
    Subject,
    bulk_step,
    open_subjects,
)
from chainsocks.tools.bench.sessions import Idle, Sessions
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import Way

TINY = 0.02
THROUGH_A_HOP = Subject(Way("1 hop", (Hop("a", HopProtocol.SOCKS5, Address("192.0.2.1", 1)),)), (os.getpid(),))


@pytest.fixture
def subjects(running_hops: tuple[RunningHop, ...]) -> tuple[Subject, ...]:
    one = running_hops[0]
    return Subject(Way("direct")), Subject(Way("1 hop", (one.hop,)), (one.pid,))


@pytest.mark.measure
def test_every_figure_of_every_way(subjects: tuple[Subject, ...]) -> None:
    steps: list[tuple[int, int | None, str]] = []
    results = run.run(tuple(Part), Effort(TINY, 30), subjects, lambda *step: steps.append(step))
    for figure in FIGURES:
        measured = results.samples[figure]
        of_a_process = "CPU" in figure.unit.name or "KiB" in figure.unit.name
        assert list(measured) == (["1 hop"] if of_a_process else ["direct", "1 hop"])
        assert all(value > 0 for [value] in measured.values()) or figure.key == "idle_session_bytes"
    ready, steps = steps[:2], steps[2:]
    assert ready == [(0, len(steps) - 1, f"{name}: first session") for name in ("direct", "1 hop")]
    assert [done for done, _, _ in steps] == list(range(len(steps)))
    assert {total for _, total, _ in steps} == {len(steps) - 1}
    assert [title for _, _, title in steps[9:13]] == [
        "1 hop: 30 idle sessions",
        "1 hop: sessions",
        "1 hop: echo",
        "1 hop: echo beside 8 streams",
    ]
    assert steps[-1][2] == ""


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        (Part.SESSIONS, {"sessions_per_second", "session_cpu_seconds"}),
        (Part.ECHO, {key for figure in FIGURES if (key := figure.key).startswith("echo_")}),
        (Part.IDLE, {"idle_session_bytes"}),
    ],
)
def test_parts(subjects: tuple[Subject, ...], part: Part, keys: set[str]) -> None:
    results = run.run({part}, Effort(TINY, 30), subjects)
    assert {figure.key for figure in results.samples} == keys


def test_without_a_process_there_is_no_cost(subjects: tuple[Subject, ...]) -> None:
    unwatched = (subjects[0], Subject(subjects[1].way))
    results = run.run({Part.SESSIONS, Part.IDLE}, Effort(TINY), unwatched)
    assert [figure.key for figure in results.samples] == ["sessions_per_second"]


def test_a_way_that_does_not_work_is_reported_before_anything_is_measured() -> None:
    hop = Hop("absent", HopProtocol.SOCKS5, Address("127.0.0.1", 1))
    steps: list[tuple[int, int | None, str]] = []
    subjects = Subject(Way("direct")), Subject(Way("proxy", (hop,)))
    with pytest.raises(ConnectError, match="absent"):
        run.run(tuple(Part), Effort(), subjects, lambda *step: steps.append(step))
    assert [title for _, _, title in steps] == ["direct: first session", "proxy: first session"]


def measured(step: Step, target: Target, subject: Subject = THROUGH_A_HOP) -> tuple[dict[str, float], list[str]]:
    """The figures of a step by their keys, and the notes."""
    notes: list[str] = []
    sample: Sample = step.measure(subject, target, Effort(2.0, 100), notes.append)
    return {figure.key: value for figure, value in sample.items()}, notes


def test_of_bulk(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    bulk = Bulk(up=1 << 29, down=1 << 29, cost=Cost(2.0, 0.5))

    def measure(*_: object, **options: object) -> Bulk:
        asked.append(options)
        return bulk

    monkeypatch.setattr(run, "measure_bulk", measure)
    figures = {"bulk_both_8_bytes_per_second": 1 << 29, "bulk_both_8_cpu_seconds_per_gib": 0.5}
    assert measured(bulk_step("both", 8), target) == (figures, [])
    assert asked == [{"streams": 8, "direction": "both", "seconds": 2.0, "pids": (os.getpid(),)}]
    bulk = Bulk(100, 0, Cost(0.5, None))
    assert measured(bulk_step("up", 1), target) == ({"bulk_up_1_bytes_per_second": 200}, [])


def test_of_sessions(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "measure_sessions", lambda *_, **__: Sessions(198, 2, Cost(2.0, 99.0)))
    figures = {"sessions_per_second": 99.0, "session_cpu_seconds": 0.5}
    assert measured(SESSIONS, target) == (figures, ["2 of 200 sessions failed"])


def test_of_an_echo(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo(tuple(number / 100 for number in range(1, 101)), beside=7.0)
    monkeypatch.setattr(run, "measure_echo", lambda *_, **__: echo)
    assert measured(ECHO, target) == ({"echo_p50_seconds": 0.5, "echo_p99_seconds": 0.99}, [])
    assert measured(ECHO_BESIDE, target)[0] == {
        "echo_beside_8_p50_seconds": 0.5,
        "echo_beside_8_p99_seconds": 0.99,
        "echo_beside_8_bytes_per_second": 7.0,
    }


def test_of_idle_sessions(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Idle(80, 100, 8000)
    monkeypatch.setattr(run, "measure_idle", lambda *_, **__: idle)
    note = "80 idle sessions instead of 100, for lack of file descriptors (see `ulimit -Hn`)"
    assert measured(IDLE, target) == ({"idle_session_bytes": 100.0}, [note])
    idle = Idle(0, 100, 0)
    assert measured(IDLE, target)[0] == {}


@pytest.mark.parametrize("subject", [THROUGH_A_HOP, Subject(Way("loop"), (1,)), Subject(Way("direct"))])
def test_a_load_that_sets_the_pace_is_noted(target: Target, monkeypatch: pytest.MonkeyPatch, subject: Subject) -> None:
    """But not on the direct way, which shows what the load can do."""
    monkeypatch.setattr(run, "measure_bulk", lambda *_, **__: Bulk(1, 0, Cost(1.0, 0.5, 0.95)))
    _, notes = measured(bulk_step("up", 1), target, subject)
    note = "bulk up, 1 stream: the load was busy all the time; the relay may be able to do more"
    assert notes == ([] if subject.way.name == "direct" else [note])


def test_built_in_hops() -> None:
    steps: list[tuple[int, int | None, str]] = []
    with open_subjects((), (), 2, lambda *step: steps.append(step)) as subjects:
        assert [subject.way.name for subject in subjects] == ["direct", "1 hop", "2 hops"]
        assert [len(subject.way.hops) for subject in subjects] == [0, 1, 2]
        pids = [pid for subject in subjects for pid in subject.pids]
        assert len(set(pids)) == 3, "no two ways share one"
        assert all(map(exists, pids))
    assert not any(map(exists, pids))
    assert steps == [(0, None, "1 hop: start"), (0, None, "2 hops: start")]


@pytest.mark.parametrize(("count", "name"), [(1, "proxy"), (2, "2 hops")])
def test_hops_of_others(count: int, name: str) -> None:
    hops = [Hop("a", HopProtocol.SOCKS5, Address("192.0.2.1", 1))] * count
    with open_subjects(hops, (os.getpid(),), 3) as subjects:
        direct, other = subjects
        assert (direct.way.hops, direct.pids) == ((), ())
        assert (other.way.name, other.way.hops, other.pids) == (name, tuple(hops), (os.getpid(),))
