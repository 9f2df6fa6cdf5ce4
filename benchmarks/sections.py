"""What is measured, section by section: who takes part, to whom the ratios are, and how a measurement is made."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.cancel import measure_cancel
from benchmarks.contestants import Contestant, Opened, hops_of_ours, loop_to_the_source, ours, peer
from benchmarks.figures import Figure, Sample
from benchmarks.loops import LOOPS
from benchmarks.peers import OURS, Peer
from benchmarks.workers import placed
from chainsocks.tools.bench.accounting import resident_bytes
from chainsocks.tools.bench.bulk import Bulk, measure_bulk
from chainsocks.tools.bench.counters import Kind, What
from chainsocks.tools.bench.echo import measure_echo
from chainsocks.tools.bench.flood import open_flood
from chainsocks.tools.bench.idle import open_idle
from chainsocks.tools.bench.sessions import measure_sessions

__all__ = ["SECTIONS", "Effort", "Remark", "Section"]

GIB, KIB = 2**30, 2**10
STREAMS = 8
CONCURRENCY = 32
"""Sessions at a time."""
AT_ONCE = 0.001
"""Seconds of grace that our server gives, where it is to end its sessions at once."""
WARM_UP = 64
"""Idle sessions before those that are counted: what a server allocates once is none of them."""
SPARE = 200
"""File descriptors that a server needs beside its sessions."""
FULL = 0.9
"""Of its time that a load was busy; from there on it was the load that set the pace."""

Remark = Callable[[str], None]
"""Says something about a measurement that its numbers do not."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done for one measurement."""

    seconds: float
    idle: int
    """Idle sessions."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the comparison."""

    name: str
    title: str
    reference: str
    contestants: Callable[[Sequence[Peer]], Sequence[Contestant]]
    measure: Callable[[Opened, Effort, Remark], Sample]


def _peers(peers: Sequence[Peer]) -> list[Contestant]:
    return [peer(one) for one in peers]


def _peers_and_loops(peers: Sequence[Peer]) -> list[Contestant]:
    return [*_peers(peers), *map(loop_to_the_source, LOOPS)]


def _peers_and_ours_without_grace(peers: Sequence[Peer]) -> list[Contestant]:
    return [ours(OURS, grace=AT_ONCE), *(peer(one) for one in peers if one.name != OURS)]


ONE_STREAM = Figure("GiB/s, 1 stream", 2, more_is_better=True)
ONE_STREAM_CPU = Figure("CPU s/GiB, 1 stream", 3)
SOME_STREAMS = Figure(f"GiB/s, {STREAMS} streams", 2, more_is_better=True)
SOME_STREAMS_CPU = Figure(f"CPU s/GiB, {STREAMS} streams", 3)


def _measure_bulk(opened: Opened, effort: Effort, remark: Remark) -> Sample:
    sample: dict[Figure, float] = {}
    kinds = ((1, ONE_STREAM, ONE_STREAM_CPU), (STREAMS, SOME_STREAMS, SOME_STREAMS_CPU))
    for streams, rate, cost in kinds:
        bulk = _bulk(opened, effort.seconds, streams, opened.running.pids)
        if bulk.load_cpu > FULL * bulk.seconds:
            remark(f"with {streams} stream(s), the load was what set the pace")
        sample |= {rate: bulk.bytes / bulk.seconds / GIB, cost: (bulk.cpu or 0) / bulk.bytes * GIB}
    return sample


def _bulk(opened: Opened, seconds: float, streams: int, pids: Sequence[int]) -> Bulk:
    return measure_bulk(opened.way, opened.target, streams=streams, direction="down", seconds=seconds, pids=pids)


SESSION_CPU = Figure("CPU us/session", 0)
SESSIONS = Figure("sessions/s", 0, more_is_better=True)


def _measure_sessions(opened: Opened, effort: Effort, remark: Remark) -> Sample:
    sessions = measure_sessions(
        opened.way, opened.target, concurrency=CONCURRENCY, seconds=effort.seconds, pids=opened.running.pids
    )
    if sessions.failed:
        remark("some sessions failed")
    if sessions.load_cpu > FULL * sessions.seconds:
        remark("the load was what set the pace")
    return {
        SESSION_CPU: (sessions.cpu or 0) / sessions.count * 1e6,
        SESSIONS: sessions.count / sessions.seconds,
    }


def _measure_workers(opened: Opened, effort: Effort, remark: Remark) -> Sample:
    with placed(opened.running.pids[0], opened.target.pids):
        return _measure_sessions(opened, effort, remark)


IDLE = Figure("KiB/idle session", 1)


def _measure_idle(opened: Opened, effort: Effort, remark: Remark) -> Sample:
    with open_idle(opened.way, opened.target, WARM_UP):
        pass
    opened.target.wait_until_quiet()
    before = resident_bytes(opened.running.pids)
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open_idle(opened.way, opened.target, min(effort.idle, (descriptors - SPARE) // opened.descriptors)) as idle:
        if idle.count < effort.idle:
            remark(f"{idle.count} idle sessions only, for want of file descriptors")
        return {IDLE: (resident_bytes(opened.running.pids) - before) / idle.count / KIB}


ECHO = Figure("echo p50, us", 1)
ECHO_P99 = Figure("echo p99, us", 1)


def _measure_echo(opened: Opened, effort: Effort, _: Remark) -> Sample:
    echo = measure_echo(opened.way, opened.target, seconds=effort.seconds)
    return {ECHO: echo.p50 * 1e6, ECHO_P99: echo.p99 * 1e6}


BESIDE = Figure(f"echo p50 beside {STREAMS} streams, ms", 2)
BESIDE_P99 = Figure(f"echo p99 beside {STREAMS} streams, ms", 2)
BESIDE_RATE = Figure("GiB/s of the streams", 2, more_is_better=True)


def _measure_fairness(opened: Opened, effort: Effort, _: Remark) -> Sample:
    with open_flood(opened.way, opened.target, streams=STREAMS, direction="down"):
        began, before = time.monotonic(), opened.target.counters.read(Kind.SOURCE, What.SENT)
        echo = measure_echo(opened.way, opened.target, seconds=effort.seconds)
        flowed = opened.target.counters.read(Kind.SOURCE, What.SENT) - before
        seconds = time.monotonic() - began
    return {BESIDE: echo.p50 * 1e3, BESIDE_P99: echo.p99 * 1e3, BESIDE_RATE: flowed / seconds / GIB}


CANCEL = Figure(f"ms from SIGTERM to the end of {STREAMS} streams", 1)


def _measure_cancel(opened: Opened, effort: Effort, _: Remark) -> Sample:
    def cancel() -> None:
        opened.running.send_signal(signal.SIGTERM)

    took = measure_cancel(opened.way, opened.target, streams=STREAMS, seconds=min(effort.seconds, 1.0), cancel=cancel)
    return {CANCEL: took * 1e3}


CHAIN = Figure("GiB per CPU s of the hops", 2, more_is_better=True)
CHAIN_ALL = Figure("GiB per CPU s of everything", 2, more_is_better=True)
CHAIN_RATE = Figure("GiB/s", 2, more_is_better=True)


def _measure_chains(opened: Opened, effort: Effort, _: Remark) -> Sample:
    bulk = _bulk(opened, effort.seconds, 1, opened.running.pids)
    everything = _bulk(opened, effort.seconds, 1, [os.getpid()])
    return {
        CHAIN: bulk.bytes / GIB / (bulk.cpu or 1),
        CHAIN_ALL: everything.bytes / GIB / (everything.cpu or 1),
        CHAIN_RATE: bulk.bytes / bulk.seconds / GIB,
    }


SECTIONS = (
    Section("bulk", "Bulk that comes down, and the CPU time of the relay", OURS, _peers_and_loops, _measure_bulk),
    Section("sessions", "Short sessions: connect, one byte each way, close", OURS, _peers, _measure_sessions),
    Section(
        "workers",
        "Short sessions, by the workers of our server",
        "1 worker",
        lambda _: [ours("1 worker"), ours("2 workers", workers=2)],
        _measure_workers,
    ),
    Section("idle", "Memory of idle sessions", OURS, _peers, _measure_idle),
    Section("echo", "Latency of a small echo", OURS, _peers, _measure_echo),
    Section("fairness", "Latency of a small echo beside bulk", OURS, _peers, _measure_fairness),
    Section("cancel", "Bulk that is cut off", OURS, _peers_and_ours_without_grace, _measure_cancel),
    Section(
        "chains",
        "A chain of our own hops",
        "1 hop",
        lambda _: [hops_of_ours("1 hop", 1), hops_of_ours("3 hops", 3)],
        _measure_chains,
    ),
)
"""All of them, in the order in which they are measured and shown."""
