"""The sections of the comparison: what takes part, what the ratios refer to, and which steps of the bench are run."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.cancel import measure_cancel
from benchmarks.contestants import LOOPS, Contestant, Opened, front, held, loop, ours, peer
from benchmarks.cores import placed
from benchmarks.growth import measure_growth
from benchmarks.peers import OURS, PEERS, Peer
from benchmarks.programs import find_program, free_address
from benchmarks.session_load import COMPILER, measure_session_load
from chainsocks.config.passwords import hash_password
from chainsocks.protocol.messages import UsernamePassword
from chainsocks.tools.bench.bulk import measure_bulk
from chainsocks.tools.bench.figures import COSTS, RATES, SESSION_COST, SESSION_RATE, STREAMS, Figure, Sample, Unit
from chainsocks.tools.bench.run import ECHO, ECHO_BESIDE, GIB, IDLE, SESSIONS, Effort, Note, Step, bulk_step

__all__ = ["SECTIONS", "Section"]

CANCELLED = STREAMS[-1]
"""Streams at full speed when a server is told to end."""

SPARE = 200
"""File descriptors that a server needs beside its sessions."""

Measure = Callable[[Opened, Effort, Note], Sample]


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the comparison; the ratios refer to the contestant of the name `reference`."""

    name: str
    title: str
    reference: str
    contestants: Callable[[Sequence[Peer]], Sequence[Contestant]]
    measure: Measure


def _peers(peers: Sequence[Peer]) -> list[Contestant]:
    return [peer(one) for one in peers]


def _peers_and_loops(peers: Sequence[Peer]) -> list[Contestant]:
    return [*_peers(peers), *map(loop, LOOPS)]


def _peers_and_ours_without_grace(peers: Sequence[Peer]) -> list[Contestant]:
    return [ours(OURS, "[timeouts]", "grace = 0.001"), *(peer(one) for one in peers if one.name != OURS)]


RULES = 20

FOREIGN = next(one for one in PEERS if one.name == "microsocks")
"""The hops of our server where sessions go through hops of others."""


def _by_hops(server: Peer) -> list[Contestant]:
    """Return our server with 1 and with 3 hops behind it; without a hop it is among the peers."""
    return [front(f"{OURS}, {hops} hop{'' if hops == 1 else 's'}", hops=hops, server=server) for hops in (1, 3)]


def _peers_and_kinds_of_sessions(peers: Sequence[Peer]) -> list[Contestant]:
    others = [
        f"[[rules]]\nto = '10.{number}.0.0/16'\nports = {7000 + number}\ndeny = true" for number in range(1, RULES)
    ]
    rules = front(f"{OURS}, {RULES} rules", *others, "[[rules]]\nto = '127.0.0.0/8'\nchain = 'direct'")
    name, password = "carol", "a long password"
    users = f"[[users]]\nname = '{name}'\npassword_hash = '{hash_password(password.encode())}'"
    login = front(f"{OURS}, login", users, credentials=UsernamePassword(name, password))
    return [*_peers(peers), rules, login, *_by_hops(FOREIGN)]


def _peers_and_hops_of_ours(peers: Sequence[Peer]) -> list[Contestant]:
    return [*_peers(peers), *_by_hops(PEERS[0])]  # each idle session would take a thread of microsocks


def _held_peers(peers: Sequence[Peer]) -> list[Contestant]:
    lacks = "" if find_program(COMPILER) else f"there is no {COMPILER} here"
    return [replace(held(one), missing=one.missing or lacks) for one in _peers(peers)]


def _run(*steps: Step) -> Measure:
    """Return the measurement that runs these steps of the bench."""

    def measure(opened: Opened, effort: Effort, note: Note) -> Sample:
        sample: dict[Figure, float] = {}
        for step in steps:
            sample |= step.measure(opened.subject, opened.target, effort, note)
        return sample

    return measure


def _measure_workers(opened: Opened, effort: Effort, note: Note) -> Sample:
    with placed(opened.running.pids[0], opened.target.pids):
        return SESSIONS.measure(opened.subject, opened.target, effort, note)


LOAD_BUSY = Figure("load_busy", "load, busy", Unit("%", 100))

BUSY_LOAD = 0.8
"""The busy share of the load in C from which it may have set the pace."""


def _measure_rate(opened: Opened, effort: Effort, note: Note) -> Sample:
    subject = opened.subject
    load = measure_session_load(
        opened.running.address, free_address().host, opened.folder, seconds=effort.seconds, pids=subject.pids
    )
    busy = load.load / load.seconds
    if busy > BUSY_LOAD:
        note(f"the load was busy {busy:.0%} of the time once; the server may be able to do more")
    return {SESSION_RATE: load.count / load.seconds, SESSION_COST: load.relay / load.count, LOAD_BUSY: busy}


def _fitting(opened: Opened, effort: Effort, note: Note) -> Effort:
    """Return the effort with no more idle sessions than a program has file descriptors for."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = (limit - SPARE) // opened.descriptors
    if possible < effort.idle_sessions:
        note(f"{possible} idle sessions instead of {effort.idle_sessions}: each takes {opened.descriptors} descriptors")
        effort = replace(effort, idle_sessions=possible)
    return effort


def _measure_idle(opened: Opened, effort: Effort, note: Note) -> Sample:
    return IDLE.measure(opened.subject, opened.target, _fitting(opened, effort, note), note)


def _measure_growth(opened: Opened, effort: Effort, note: Note) -> Sample:
    count = _fitting(opened, effort, note).idle_sessions
    return measure_growth(opened.subject, opened.target, count=count, seconds=effort.seconds)


CANCEL = Figure("cancel_seconds", f"SIGTERM to the end of {CANCELLED} streams", Unit("ms", 1e3))


def _measure_cancel(opened: Opened, effort: Effort, _: Note) -> Sample:
    def cancel() -> None:
        opened.running.send_signal(signal.SIGTERM)

    seconds = min(effort.seconds, 1.0)
    way, target = opened.subject.way, opened.target
    return {CANCEL: measure_cancel(way, target, streams=CANCELLED, seconds=seconds, cancel=cancel)}


HOPS_COST, CHAIN_RATE = COSTS["down", 1], RATES["down", 1]
TOTAL_COST = Figure("total_cpu_seconds_per_gib", f"{HOPS_COST.title}, load and far end included", HOPS_COST.unit)


def _measure_chain(opened: Opened, effort: Effort, _: Note) -> Sample:
    subject = opened.subject
    bulk = measure_bulk(
        subject.way, opened.target, streams=1, direction="down", seconds=effort.seconds, pids=subject.pids
    )
    hops, gib = bulk.cost.relay or 0, bulk.bytes / GIB
    total = hops + bulk.cost.load + bulk.cost.far_end
    return {HOPS_COST: hops / gib, TOTAL_COST: total / gib, CHAIN_RATE: bulk.bytes / bulk.cost.seconds}


_BULK = _run(*(bulk_step("down", streams) for streams in STREAMS))

SECTIONS = (
    Section("bulk", "Bulk that comes down, and the CPU time of the relay", OURS, _peers_and_loops, _BULK),
    Section(
        "sessions",
        "Short sessions: connect, one byte each way, close",
        OURS,
        _peers_and_kinds_of_sessions,
        _run(SESSIONS),
    ),
    Section(
        "rate",
        "Short sessions per second, each server held to one core, under a load in C",
        OURS,
        _held_peers,
        _measure_rate,
    ),
    Section(
        "workers",
        "Short sessions, by the number of workers of our server",
        "1 worker",
        lambda _: [ours("1 worker"), ours("2 workers", workers=2)],
        _measure_workers,
    ),
    Section("idle", "Memory of idle sessions", OURS, _peers_and_hops_of_ours, _measure_idle),
    Section(
        "growth",
        "Memory of an idle session of ours, and an echo beside, by the number of sessions",
        OURS,
        lambda _: [front(OURS), *_by_hops(PEERS[0])],
        _measure_growth,
    ),
    Section("echo", "Latency of a small echo", OURS, _peers, _run(ECHO)),
    Section("fairness", "Latency of a small echo beside bulk", OURS, _peers, _run(ECHO_BESIDE)),
    Section("cancel", "Bulk that is cut off", OURS, _peers_and_ours_without_grace, _measure_cancel),
    Section(
        "chains",
        "A chain of our own hops",
        "1 hop",
        lambda _: [ours("1 hop"), ours("3 hops", hops=3)],
        _measure_chain,
    ),
)
"""All sections, in the order in which they are measured and shown."""
