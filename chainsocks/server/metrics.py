"""What a worker answers to `metrics`: its counters, and how it is right now.

All of it is read in one go, so that the bytes of a session that ends meanwhile are neither missing nor there twice.
That takes less than a microsecond for each session.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.observe.counters import Counters, Ended
from chainsocks.observe.metrics import (
    CPU_SECONDS,
    DRAINING,
    HOP_BACKOFF_SECONDS,
    HOP_BACKOFFS,
    HOP_UP,
    LOOP_LAG,
    OPEN_FILES,
    PLACES,
    PLACES_TAKEN,
    RESIDENT_BYTES,
    START_TIME,
    WAITING,
    WORKERS,
    Live,
    Sample,
    document,
    samples_of,
)
from chainsocks.protocol.address import printable
from chainsocks.server.server import Server

__all__ = ["Condition", "read_metrics"]

_PAGE: int = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True)
class Condition:
    """How a worker is, as its server does not know."""

    number: int
    """As in `chainsocks.control.messages.Worker`."""
    started: float
    """In Unix time."""
    lag: float | None
    """How late its event loop was at most in the last seconds; None where that is not measured."""
    is_draining: bool


def read_metrics(server: Server, counters: Counters, hops: Mapping[str, Hop], condition: Condition) -> dict[str, Any]:
    """Return what a worker with `hops` answers, as JSON.

    ``worker`` is its number, ``metrics`` what `chainsocks.observe.metrics.document` returns, ``chains`` the hops and
    groups of each chain in their order, and ``failures`` the last sessions that failed, the latest first.
    """
    live = Live()
    for session in server.live:
        live.add(session.record)
    samples = [*samples_of(counters, live), *_present(server, hops, condition), *_process()]
    now = trio.current_time()
    failures = [_failure(ended, now) for ended in reversed(counters.recent_failures)]
    chains = [
        {"name": printable(chain.name), "places": [*map(_member, chain.hops)]}
        for chain in server.service.config.chains.values()
    ]
    return {"worker": condition.number, "metrics": document(samples), "chains": chains, "failures": failures}


def _member(member: Hop | Group) -> dict[str, Any]:
    """Return a hop, or a group with its members."""
    if isinstance(member, Hop):
        return {"hop": printable(member.name)}
    return {"group": printable(member.name), "pick": member.pick, "members": [*map(_member, member.hops)]}


def _present(server: Server, hops: Mapping[str, Hop], condition: Condition) -> Iterator[Sample]:
    """Yield how the server is."""
    admission, health = server.admission, server.service.dialer.choices.health
    now = server.service.network.now()
    yield Sample(PLACES_TAKEN, (), admission.taken)
    yield Sample(PLACES, (), admission.total)
    yield Sample(WAITING, (), admission.waiting)
    yield Sample(DRAINING, (), int(condition.is_draining))
    yield Sample(WORKERS, (), 1)
    yield Sample(START_TIME, (), condition.started)
    if condition.lag is not None:
        yield Sample(LOOP_LAG, (), condition.lag)
    for name, hop in hops.items():
        shown, ends = printable(name), health.backoff_ends(hop)
        yield Sample(HOP_UP, (shown,), int(not health.in_backoff(hop)))
        yield Sample(HOP_BACKOFF_SECONDS, (shown,), 0 if math.isinf(ends) else max(0, ends - now))
    for name, count in health.backoffs.items():
        yield Sample(HOP_BACKOFFS, (printable(name),), count)


def _process() -> Iterator[Sample]:
    yield Sample(CPU_SECONDS, (), time.process_time())
    with suppress(OSError, ValueError, IndexError):  # not Linux
        yield Sample(RESIDENT_BYTES, (), int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE)
    with suppress(OSError):
        # Since Linux 6.2 this is their number. A list of them would take a millisecond for each thousand.
        if count := Path("/proc/self/fd").stat().st_size:
            yield Sample(OPEN_FILES, (), count)


def _failure(ended: Ended, now: float) -> dict[str, Any]:
    """Return what is shown of a session that failed."""
    record = ended.record
    return {
        "session": record.name,
        "ago": now - ended.at,
        "chain": record.chain.name if record.chain else None,
        "outcome": printable(record.outcome),
    }
