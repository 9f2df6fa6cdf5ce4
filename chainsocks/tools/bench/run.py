"""A run of the bench: which ways, which steps, and the results of all of them.

Every way is tried first, so that a proxy that does not work is reported at once and not after a minute of measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum

from chainsocks.config.hops import Hop
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.accounting import Cost
from chainsocks.tools.bench.bulk import Direction, measure_bulk
from chainsocks.tools.bench.echo import measure_echo
from chainsocks.tools.bench.figures import (
    BESIDE,
    BESIDE_RATE,
    COSTS,
    DIRECTIONS,
    IDLE_MEMORY,
    LATENCIES,
    RATES,
    SESSION_COST,
    SESSION_RATE,
    STREAMS,
    Figure,
    Results,
    Sample,
    title_of_bulk,
)
from chainsocks.tools.bench.hops import open_front, open_hops
from chainsocks.tools.bench.sessions import measure_idle, measure_sessions, open_idle
from chainsocks.tools.bench.target import Target, open_target
from chainsocks.tools.bench.way import Way, local_host

__all__ = [
    "ECHO",
    "ECHO_BESIDE",
    "GIB",
    "IDLE",
    "SESSIONS",
    "Effort",
    "Note",
    "OnStep",
    "Part",
    "Step",
    "Subject",
    "bulk_step",
    "open_subjects",
    "run",
]

GIB = 1 << 30


class Part(StrEnum):
    """What can be measured by itself."""

    BULK = "bulk"
    SESSIONS = "sessions"
    ECHO = "echo"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: seconds for each step, and a number of idle sessions."""

    seconds: float = 1.0
    idle_sessions: int = 1000


@dataclass(frozen=True, slots=True)
class Subject:
    """A way, and the processes that do the work on it, as far as they are known."""

    way: Way
    pids: tuple[int, ...] = ()


Note = Callable[[str], None]
"""Takes what the numbers of a measurement do not tell."""


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of a subject."""

    part: Part
    title: str
    measure: Callable[[Subject, Target, Effort, Note], Sample]


OnStep = Callable[[int, int | None, str], None]
"""Callback at the start of each step: how many are done, how many there are if that is known, and the step's title.

What comes before the first step is reported with none done.
"""


def _ignore(done: int, total: int | None, title: str) -> None:
    pass


@contextmanager
def open_subjects(
    hops: Sequence[Hop], pids: tuple[int, ...], count: int, on_step: OnStep = _ignore
) -> Iterator[tuple[Subject, ...]]:
    """Yield the direct way first, and then the one through `hops`; without any, those through 1 to `count` of our own.

    A server of ours speaks to hops in TLS, since the load does not. It is one of the processes then, if there are any.

    Two ways never share a hop of our own: memory that a hop keeps from a thousand sessions would hide what the next
    thousand need.

    Raises:
        ChildError: one of our hops does not start.
    """
    raise_limit()  # our hops inherit it
    direct = Subject(Way("direct"))
    if hops:
        way = Way("proxy" if len(hops) == 1 else f"{len(hops)} hops", tuple(hops))
        if any(hop.tls for hop in hops):
            on_step(0, None, f"{way.name}: start a front")
            with open_front(hops) as front:
                way = Way(f"{way.name}, by a front", (front.hop,), behind=tuple(hops))
                yield direct, Subject(way, (*pids, front.pid) if pids else ())
            return
        yield direct, Subject(way, pids)
        return
    with ExitStack() as stack:
        subjects = [direct]
        for length in range(1, count + 1):
            name = "1 hop" if length == 1 else f"{length} hops"
            on_step(0, None, f"{name}: start")
            running = stack.enter_context(open_hops(length))
            way = Way(name, tuple(one.hop for one in running))
            subjects.append(Subject(way, tuple(one.pid for one in running)))
        yield tuple(subjects)


def run(
    parts: Collection[Part],
    effort: Effort,
    subjects: Sequence[Subject],
    on_step: OnStep = _ignore,
) -> Results:
    """Measure each of `subjects`. The far end listens where the last of them reaches it.

    Raises:
        DialError: a way cannot be opened.
        BenchError: a way does not work.
    """
    results = Results(subjects[0].way.name)
    with open_target(local_host(subjects[-1].way)) as target:
        steps = [
            (subject, step)
            for subject in subjects
            for step in _steps(effort)
            if step.part in parts and (step.part is not Part.IDLE or subject.pids)
        ]
        for subject in subjects:
            on_step(0, len(steps), f"{subject.way.name}: first session")
            with open_idle(subject.way, target, 1):
                pass
        for done, (subject, step) in enumerate(steps):
            name = subject.way.name
            on_step(done, len(steps), f"{name}: {step.title}")

            def note(text: str, name: str = name) -> None:
                results.note(name, text)

            results.add(name, step.measure(subject, target, effort, note))
        on_step(len(steps), len(steps), "")
    return results


def _steps(effort: Effort) -> Iterator[Step]:
    """Yield the steps. Idle sessions come first: memory that heavier loads leave behind would hide theirs."""
    yield Step(Part.IDLE, f"{effort.idle_sessions} idle sessions", IDLE.measure)
    yield from (SESSIONS, ECHO, ECHO_BESIDE)
    yield from (bulk_step(direction, streams) for direction in DIRECTIONS for streams in STREAMS)


def _measure_idle(subject: Subject, target: Target, effort: Effort, note: Note) -> Sample:
    idle = measure_idle(subject.way, target, count=effort.idle_sessions, pids=subject.pids)
    if idle.count < idle.wanted:
        note(f"{idle.count} idle sessions instead of {idle.wanted}, for lack of file descriptors (see `ulimit -Hn`)")
    return {IDLE_MEMORY: idle.bytes / idle.count} if idle.count else {}


def _measure_sessions(subject: Subject, target: Target, effort: Effort, note: Note) -> Sample:
    sessions = measure_sessions(subject.way, target, seconds=effort.seconds, pids=subject.pids)
    if sessions.failed:
        note(f"{sessions.failed} of {sessions.count + sessions.failed} sessions failed")
    _note_busy_load(subject, SESSIONS.title, sessions.cost, note)
    sample = {SESSION_RATE: sessions.count / sessions.cost.seconds}
    return sample | _cost(SESSION_COST, sessions.cost, 1 / sessions.count)


def _measure_echo(subject: Subject, target: Target, effort: Effort, _: Note) -> Sample:
    echo = measure_echo(subject.way, target, seconds=effort.seconds)
    return {LATENCIES[50, 0]: echo.p50, LATENCIES[99, 0]: echo.p99}


def _measure_echo_beside(subject: Subject, target: Target, effort: Effort, _: Note) -> Sample:
    echo = measure_echo(subject.way, target, seconds=effort.seconds, beside=BESIDE)
    return {LATENCIES[50, BESIDE]: echo.p50, LATENCIES[99, BESIDE]: echo.p99, BESIDE_RATE: echo.beside}


def bulk_step(direction: Direction, streams: int) -> Step:
    """Return the step that measures bulk in a direction, on one of the numbers of `STREAMS`."""
    title = title_of_bulk(direction, streams)

    def measure(subject: Subject, target: Target, effort: Effort, note: Note) -> Sample:
        bulk = measure_bulk(
            subject.way, target, streams=streams, direction=direction, seconds=effort.seconds, pids=subject.pids
        )
        _note_busy_load(subject, title, bulk.cost, note)
        sample = {RATES[direction, streams]: bulk.bytes / bulk.cost.seconds}
        return sample | _cost(COSTS[direction, streams], bulk.cost, GIB / bulk.bytes)

    return Step(Part.BULK, title, measure)


IDLE = Step(Part.IDLE, "idle sessions", _measure_idle)
SESSIONS = Step(Part.SESSIONS, "sessions", _measure_sessions)
ECHO = Step(Part.ECHO, "echo", _measure_echo)
ECHO_BESIDE = Step(Part.ECHO, f"echo beside {BESIDE} streams", _measure_echo_beside)


def _cost(figure: Figure, cost: Cost, per: float) -> dict[Figure, float]:
    """Return the CPU time of the watched processes; nothing when none was watched."""
    return {} if cost.relay is None else {figure: cost.relay * per}


def _note_busy_load(subject: Subject, title: str, cost: Cost, note: Note) -> None:
    if (subject.way.hops or subject.pids) and cost.load_was_busy:
        note(f"{title}: the load was busy all the time; the relay may be able to do more")
