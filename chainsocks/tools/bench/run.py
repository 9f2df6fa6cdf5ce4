"""A whole measurement: which ways, step after step, and the figures of each.

Every way is tried out first: a proxy that cannot be used is told of at once, and not after a minute of measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from chainsocks.config.hops import Hop
from chainsocks.tools.bench.accounting import resident_bytes
from chainsocks.tools.bench.bulk import Direction, measure_bulk
from chainsocks.tools.bench.descriptors import raise_limit
from chainsocks.tools.bench.echo import measure_echo
from chainsocks.tools.bench.figures import (
    BESIDE,
    DIRECTIONS,
    IDLE_MEMORY,
    STREAMS,
    Column,
    Figures,
    Part,
    figures_of_bulk,
    figures_of_echo,
    figures_of_sessions,
    title_of_bulk,
)
from chainsocks.tools.bench.hops import open_hops
from chainsocks.tools.bench.idle import open_idle
from chainsocks.tools.bench.sessions import measure_sessions
from chainsocks.tools.bench.target import Target, open_target
from chainsocks.tools.bench.way import Way, local_host

__all__ = ["OnStep", "Plan", "Report", "Subject", "open_subjects", "run"]

CONCURRENCY = 16
"""Sessions that are opened and closed at a time."""

TRIAL = 20
"""Idle sessions that a server has had before its memory is looked at: what it loads once belongs to no session."""

BUSY = 0.9
"""The share of the time that makes somebody the bottleneck."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A way, and the processes that do the work on it, as far as we know them."""

    way: Way
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    parts: Collection[Part] = tuple(Part)
    seconds: float = 1.0
    """For each step."""
    idle_sessions: int = 1000


@dataclass(slots=True)
class Report:
    """What came out: a column for each way, and what there is to say about them."""

    seconds: float
    columns: list[Column] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


OnStep = Callable[[int, int, str], None]
"""Is told of each step as it begins: how many are done, how many there are, and what it is."""


@contextmanager
def open_subjects(hops: Sequence[Hop], pids: tuple[int, ...], count: int) -> Iterator[tuple[Subject, ...]]:
    """Yield the direct way first, and then the one through `hops`; without any, those through 1 to `count` of our own.

    No two ways share a hop of ours: one that has held a thousand sessions before would hold them again for nothing.

    Raises:
        ChildError: one of our hops does not start.
    """
    raise_limit()  # our hops inherit it
    direct = Subject(Way("direct"))
    if hops:
        yield direct, Subject(Way("proxy" if len(hops) == 1 else f"{len(hops)} hops", tuple(hops)), pids)
        return
    with ExitStack() as stack:
        subjects = [direct]
        for length in range(1, count + 1):
            running = stack.enter_context(open_hops(length))
            way = Way("1 hop" if length == 1 else f"{length} hops", tuple(one.hop for one in running))
            subjects.append(Subject(way, tuple(one.pid for one in running)))
        yield tuple(subjects)


def run(plan: Plan, subjects: Sequence[Subject], on_step: OnStep = lambda done, total, what: None) -> Report:
    """Measure each of `subjects`; the far end runs meanwhile, where the last of them reaches it.

    Raises:
        DialError: a way cannot be opened.
        BenchError: a way does not work.
    """
    report = Report(plan.seconds)
    with open_target(local_host(subjects[-1].way)) as target:
        for subject in subjects:
            with open_idle(subject.way, target, 1):
                pass
        steps = [(subject, step) for subject in subjects for step in _steps(plan, subject, target, report)]
        columns = {subject.way.name: _column(subject.way) for subject in subjects}
        report.columns += columns.values()
        for done, (subject, (what, step)) in enumerate(steps):
            on_step(done, len(steps), f"{subject.way.name}: {what}")
            columns[subject.way.name].figures.update(step())
        on_step(len(steps), len(steps), "")
    return report


Step = tuple[str, Callable[[], Figures]]


def _steps(plan: Plan, subject: Subject, target: Target, report: Report) -> Iterator[Step]:
    # Idle sessions come first: what heavier loads leave behind in a process would hold them without growing.
    if Part.IDLE in plan.parts and subject.pids:
        yield f"{plan.idle_sessions} idle sessions", partial(_idle, plan, subject, target, report)
    if Part.SESSIONS in plan.parts:
        yield "sessions", partial(_sessions, plan, subject, target, report)
    if Part.ECHO in plan.parts:
        for beside in (0, BESIDE):
            yield (
                "echo" + (f" beside {beside} streams" if beside else ""),
                partial(_echo, plan, subject, target, beside),
            )
    if Part.BULK in plan.parts:
        for direction in DIRECTIONS:
            for streams in STREAMS:
                what = title_of_bulk(direction, streams)
                yield what, partial(_bulk, plan, subject, target, report, direction, streams)


def _idle(plan: Plan, subject: Subject, target: Target, report: Report) -> Figures:
    with open_idle(subject.way, target, TRIAL):
        pass
    target.wait_until_quiet()
    before = resident_bytes(subject.pids)
    with open_idle(subject.way, target, plan.idle_sessions) as idle:
        grown = resident_bytes(subject.pids) - before
    if idle.count < idle.wanted:
        enough = f"{idle.count} idle sessions instead of {idle.wanted}"
        report.notes.append(f"{subject.way.name}: {enough}, for want of file descriptors (see `ulimit -Hn`)")
    return {IDLE_MEMORY: grown / idle.count} if idle.count else {}


def _sessions(plan: Plan, subject: Subject, target: Target, report: Report) -> Figures:
    name = subject.way.name
    sessions = measure_sessions(subject.way, target, concurrency=CONCURRENCY, seconds=plan.seconds, pids=subject.pids)
    if sessions.failed:
        report.notes.append(f"{name}: {sessions.failed} of {sessions.count + sessions.failed} sessions failed")
    _note_busy_load(report, subject, "sessions", sessions.load_cpu, sessions.cpu, sessions.seconds)
    return figures_of_sessions(sessions)


def _echo(plan: Plan, subject: Subject, target: Target, beside: int) -> Figures:
    return figures_of_echo(measure_echo(subject.way, target, seconds=plan.seconds, beside=beside), beside)


def _bulk(plan: Plan, subject: Subject, target: Target, report: Report, direction: Direction, streams: int) -> Figures:
    bulk = measure_bulk(
        subject.way, target, streams=streams, direction=direction, seconds=plan.seconds, pids=subject.pids
    )
    _note_busy_load(report, subject, title_of_bulk(direction, streams), bulk.load_cpu, bulk.cpu, bulk.seconds)
    return figures_of_bulk(direction, streams, bulk)


def _note_busy_load(
    report: Report, subject: Subject, what: str, load: float, relay: float | None, seconds: float
) -> None:
    """Say so when the load was busy all the time, and the relay, as far as we know, was not."""
    if subject.way.hops and load > BUSY * seconds and not (relay and relay > BUSY * seconds):
        report.notes.append(
            f"{subject.way.name}: {what}: the load itself was busy all the time; there may be more in it"
        )


def _column(way: Way) -> Column:
    return Column(way.name, tuple(f"{hop.protocol}://{hop.address}" for hop in way.hops))
