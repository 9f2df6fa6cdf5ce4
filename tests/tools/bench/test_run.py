"""A whole measurement: its ways, its steps, and what is said beside the figures."""

from __future__ import annotations

import os

import pytest

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.errors import ConnectError
from chainsocks.protocol.address import Address
from chainsocks.tools.bench import idle, run
from chainsocks.tools.bench.accounting import exists
from chainsocks.tools.bench.bulk import Bulk
from chainsocks.tools.bench.figures import MEASURES, Part, Unit
from chainsocks.tools.bench.hops import RunningHop
from chainsocks.tools.bench.run import Plan, Report, Subject, open_subjects
from chainsocks.tools.bench.sessions import Sessions
from chainsocks.tools.bench.way import Way

TINY = 0.02
OF_A_PROCESS = {Unit.CPU, Unit.CPU_EACH, Unit.MEMORY}


@pytest.fixture
def subjects(running_hops: tuple[RunningHop, ...]) -> tuple[Subject, ...]:
    one = running_hops[0]
    return Subject(Way("direct")), Subject(Way("1 hop", (one.hop,)), (one.pid,))


def test_every_figure_of_every_way(subjects: tuple[Subject, ...]) -> None:
    steps: list[tuple[int, int, str]] = []
    report = run.run(Plan(seconds=TINY, idle_sessions=30), subjects, lambda *step: steps.append(step))
    direct, hop = report.columns
    assert (direct.name, direct.hops) == ("direct", ())
    assert (hop.name, hop.hops) == ("1 hop", (f"socks5://{subjects[1].way.hops[0].address}",))
    assert set(hop.figures) == set(MEASURES)
    assert set(direct.figures) == {measure for measure in MEASURES if measure.unit not in OF_A_PROCESS}
    assert all(value > 0 for measure, value in hop.figures.items() if measure.unit is not Unit.MEMORY)
    assert all(value > 0 for value in direct.figures.values())
    assert [done for done, _, _ in steps] == list(range(len(steps)))
    assert {total for _, total, _ in steps} == {len(steps) - 1}
    assert [what for _, _, what in steps[9:13]] == [
        "1 hop: 30 idle sessions",
        "1 hop: sessions",
        "1 hop: echo",
        "1 hop: echo beside 8 streams",
    ]
    assert steps[-1][2] == ""


@pytest.mark.parametrize("part", Part)
def test_parts(subjects: tuple[Subject, ...], part: Part) -> None:
    report = run.run(Plan({part}, TINY, 30), subjects)
    assert {measure.part for column in report.columns for measure in column.figures} == {part}


def test_nobody_is_watched_unasked(subjects: tuple[Subject, ...]) -> None:
    unwatched = (subjects[0], Subject(subjects[1].way))
    report = run.run(Plan({Part.SESSIONS, Part.IDLE}, TINY), unwatched)
    assert [measure.key for measure in report.columns[1].figures] == ["sessions_per_second"]


def test_a_way_that_does_not_work_is_told_of_before_anything_is_measured() -> None:
    hop = Hop("nobody", HopProtocol.SOCKS5, Address("127.0.0.1", 1))
    steps: list[object] = []
    with pytest.raises(ConnectError, match="nobody"):
        run.run(Plan(), (Subject(Way("direct")), Subject(Way("proxy", (hop,)))), lambda *step: steps.append(step))
    assert steps == []


def test_too_few_descriptors_are_told_of(subjects: tuple[Subject, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "free_descriptors", lambda: 5)
    report = run.run(Plan({Part.IDLE}, TINY, 30), subjects)
    assert report.notes == ["1 hop: 5 idle sessions instead of 30, for want of file descriptors (see `ulimit -Hn`)"]


def test_failed_sessions_are_told_of(subjects: tuple[Subject, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "measure_sessions", lambda *_, **__: Sessions(198, 1, failed=2))
    assert run.run(Plan({Part.SESSIONS}), subjects[1:]).notes == ["1 hop: 2 of 200 sessions failed"]


@pytest.mark.parametrize(
    ("load", "relay", "noted"),
    [(0.95, 0.5, True), (0.95, None, True), (0.5, 0.5, False), (0.95, 0.95, False)],
)
def test_a_load_that_is_the_bottleneck_is_told_of(
    subjects: tuple[Subject, ...], monkeypatch: pytest.MonkeyPatch, load: float, relay: float | None, *, noted: bool
) -> None:
    monkeypatch.setattr(run, "measure_bulk", lambda *_, **__: Bulk(1, 0, 1, relay, load))
    notes = run.run(Plan({Part.BULK}), subjects[1:]).notes
    assert len(notes) == (6 if noted else 0)
    assert not noted or notes[0].startswith("1 hop: bulk up, 1 stream: the load itself was busy all the time")


def test_the_direct_way_is_what_the_load_can_do(subjects: tuple[Subject, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "measure_bulk", lambda *_, **__: Bulk(1, 0, 1, None, 1))
    assert run.run(Plan({Part.BULK}), subjects[:1]).notes == []


def test_hops_of_our_own_by_themselves() -> None:
    with open_subjects((), (), 2) as subjects:
        assert [subject.way.name for subject in subjects] == ["direct", "1 hop", "2 hops"]
        assert [len(subject.way.hops) for subject in subjects] == [0, 1, 2]
        pids = [pid for subject in subjects for pid in subject.pids]
        assert len(set(pids)) == 3, "no two ways share one"
        assert all(map(exists, pids))
    assert not any(map(exists, pids))


@pytest.mark.parametrize(("count", "name"), [(1, "proxy"), (2, "2 hops")])
def test_those_of_others(count: int, name: str) -> None:
    hops = [Hop("a", HopProtocol.SOCKS5, Address("192.0.2.1", 1))] * count
    with open_subjects(hops, (os.getpid(),), 3) as subjects:
        direct, other = subjects
        assert (direct.way.hops, direct.pids) == ((), ())
        assert (other.way.name, other.way.hops, other.pids) == (name, tuple(hops), (os.getpid(),))


def test_a_report_begins_empty() -> None:
    assert (Report(1).columns, Report(1).notes) == ([], [])
