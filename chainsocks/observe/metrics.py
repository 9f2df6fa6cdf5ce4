"""The metrics: their names, what they mean, and how a worker's counters become samples of them.

The names and labels are a promise to users, as configuration keys are; the manual's page is held against this table.
A worker answers with its own samples, as JSON. The web server merges those of all workers (`chainsocks.web.merge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Any, NamedTuple

from chainsocks.observe.counters import BOUNDS, Counters, Histogram
from chainsocks.observe.record import Record
from chainsocks.protocol.address import printable
from chainsocks.protocol.messages import show_code

__all__ = [
    "BYTES",
    "CPU_SECONDS",
    "DATAGRAMS",
    "DATAGRAMS_DROPPED",
    "DIAL_FAILURES",
    "DIAL_SECONDS",
    "DRAINING",
    "HOP_BACKOFFS",
    "HOP_BACKOFF_SECONDS",
    "HOP_UP",
    "LIMITED",
    "LOOP_LAG",
    "METRICS",
    "OPEN_FILES",
    "PLACES",
    "PLACES_TAKEN",
    "RESIDENT_BYTES",
    "SESSIONS",
    "SESSIONS_OPEN",
    "START_TIME",
    "STEP_SECONDS",
    "WAITING",
    "WORKERS",
    "Buckets",
    "Live",
    "Merge",
    "Metric",
    "MetricKind",
    "Sample",
    "document",
    "read_document",
    "samples_of",
]


class MetricKind(StrEnum):
    """What a metric does over time."""

    COUNTER = auto()
    """It only grows, until its worker ends."""
    GAUGE = auto()
    HISTOGRAM = auto()
    """Counts of durations, in buckets that end at `chainsocks.observe.counters.BOUNDS`."""


class Merge(Enum):
    """How the samples of several workers with the same labels become one."""

    SUM = auto()
    MAX = auto()
    MIN = auto()
    EACH = auto()
    """They do not: the label ``worker`` tells them apart."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. The values of `labels` are enums, or names from the configuration."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    merge: Merge = Merge.SUM

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels that it is shown with."""
        return (*self.labels, "worker") if self.merge is Merge.EACH else self.labels


_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

SESSIONS = Metric(
    "chainsocks_sessions_total",
    _COUNTER,
    "Sessions that have ended, by command, chain, how they ended and the reply code.",
    ("command", "chain", "outcome", "reply"),
)
SESSIONS_OPEN = Metric(
    "chainsocks_sessions_open", _GAUGE, "Sessions that run, by command and chain.", ("command", "chain")
)
BYTES = Metric(
    "chainsocks_bytes_total",
    _COUNTER,
    "Bytes passed on from clients (up) and to clients (down), by chain.",
    ("direction", "chain"),
)
DIAL_FAILURES = Metric(
    "chainsocks_dial_failures_total",
    _COUNTER,
    "Failed attempts of dials, by the hop that failed (empty at the destination), the step and the cause.",
    ("hop", "step", "cause"),
)
LIMITED = Metric("chainsocks_limited_total", _COUNTER, "What each limit has refused, ended or dropped.", ("limit",))
DIAL_SECONDS = Metric(
    "chainsocks_dial_seconds", _HISTOGRAM, "How long dials took that succeeded, by chain.", ("chain",)
)
STEP_SECONDS = Metric(
    "chainsocks_step_seconds",
    _HISTOGRAM,
    "How long steps of dials took that succeeded, by hop and step.",
    ("hop", "step"),
)
DATAGRAMS = Metric(
    "chainsocks_datagrams_total",
    _COUNTER,
    "Datagrams passed on from clients (up) and to clients (down).",
    ("direction",),
)
DATAGRAMS_DROPPED = Metric(
    "chainsocks_datagrams_dropped_total", _COUNTER, "Datagrams that were dropped, by cause.", ("cause",)
)
HOP_UP = Metric(
    "chainsocks_hop_up", _GAUGE, "Whether requests use a hop: 0 while any worker avoids it.", ("hop",), Merge.MIN
)
HOP_BACKOFF_SECONDS = Metric(
    "chainsocks_hop_backoff_seconds", _GAUGE, "Seconds until a hop in backoff is tried again.", ("hop",), Merge.MAX
)
HOP_BACKOFFS = Metric("chainsocks_hop_backoffs_total", _COUNTER, "Times that a hop went into backoff.", ("hop",))
PLACES_TAKEN = Metric("chainsocks_places_taken", _GAUGE, "Places of max_sessions that sessions have.")
PLACES = Metric("chainsocks_places", _GAUGE, "Sessions that there may be at a time.")
WAITING = Metric("chainsocks_connections_waiting", _GAUGE, "Connections that wait for a session to end.")
DRAINING = Metric("chainsocks_draining", _GAUGE, "Whether the server is about to stop, or stops.", merge=Merge.MAX)
WORKERS = Metric("chainsocks_workers", _GAUGE, "Processes that carry sessions, and have answered.")
LOOP_LAG = Metric(
    "chainsocks_loop_lag_seconds",
    _GAUGE,
    "How late the event loop of a worker was at most in the last seconds.",
    merge=Merge.EACH,
)
CPU_SECONDS = Metric("chainsocks_process_cpu_seconds_total", _COUNTER, "CPU time of a worker.", merge=Merge.EACH)
RESIDENT_BYTES = Metric(
    "chainsocks_process_resident_bytes", _GAUGE, "Memory of a worker that is in RAM.", merge=Merge.EACH
)
OPEN_FILES = Metric(
    "chainsocks_process_open_files", _GAUGE, "File descriptors that a worker has open.", merge=Merge.EACH
)
START_TIME = Metric(
    "chainsocks_process_start_time_seconds", _GAUGE, "When a worker started, in Unix time.", merge=Merge.EACH
)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        SESSIONS,
        SESSIONS_OPEN,
        BYTES,
        DIAL_SECONDS,
        STEP_SECONDS,
        DIAL_FAILURES,
        LIMITED,
        HOP_UP,
        HOP_BACKOFF_SECONDS,
        HOP_BACKOFFS,
        DATAGRAMS,
        DATAGRAMS_DROPPED,
        PLACES_TAKEN,
        PLACES,
        WAITING,
        DRAINING,
        WORKERS,
        LOOP_LAG,
        CPU_SECONDS,
        RESIDENT_BYTES,
        OPEN_FILES,
        START_TIME,
    )
}
"""All of them, by name, in the order in which they are shown."""


class Buckets(NamedTuple):
    """The value of a histogram, as in `chainsocks.observe.counters.Histogram`."""

    counts: tuple[int, ...]
    sum: float


class Sample(NamedTuple):
    """A value of a metric, for one set of labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Buckets


class Live:
    """What the sessions that run add to the counters; `add` takes one after the other."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], int] = {}
        self.up: dict[str, int] = {}
        self.down: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """Add a session that runs."""
        request, chain = record.request, record.chain
        name = chain.name if chain else ""
        key = request.command.name if request else "", name
        self.open[key] = self.open.get(key, 0) + 1
        if record.up or record.down:
            self.up[name] = self.up.get(name, 0) + record.up
            self.down[name] = self.down.get(name, 0) + record.down


def samples_of(counters: Counters, live: Live) -> Iterator[Sample]:
    """Yield what a worker has counted, with what its sessions add that run."""
    up, down = dict(live.up), dict(live.down)
    for key, totals in counters.sessions.items():
        command = key.command.name if key.command else ""
        reply = "" if key.reply is None else show_code(key.reply)
        yield Sample(SESSIONS, (command, _shown(key.chain), key.outcome, reply), totals.count)
        up[key.chain] = up.get(key.chain, 0) + totals.up
        down[key.chain] = down.get(key.chain, 0) + totals.down
    for (command, chain), count in live.open.items():
        yield Sample(SESSIONS_OPEN, (command, _shown(chain)), count)
    for direction, by_chain in (("up", up), ("down", down)):
        for chain, count in by_chain.items():
            yield Sample(BYTES, (direction, _shown(chain)), count)
    for chain, histogram in counters.dials.items():
        yield Sample(DIAL_SECONDS, (_shown(chain),), _buckets(histogram))
    for (hop, step), histogram in counters.steps.items():
        yield Sample(STEP_SECONDS, (_shown(hop), step), _buckets(histogram))
    for failure, count in counters.failures.items():
        yield Sample(DIAL_FAILURES, (_shown(failure.hop), failure.step, failure.cause), count)
    for limit, count in counters.limited.items():
        yield Sample(LIMITED, (limit,), count)
    datagrams = counters.datagrams
    yield Sample(DATAGRAMS, ("up",), datagrams.up)
    yield Sample(DATAGRAMS, ("down",), datagrams.down)
    for drop, count in datagrams.drops.items():
        yield Sample(DATAGRAMS_DROPPED, (drop.name.lower(),), count)


def document(samples: Iterable[Sample]) -> dict[str, list[dict[str, object]]]:
    """Return samples as JSON: a list for each metric, in which each sample has its ``labels`` and its ``value``.

    Histograms have ``counts`` and ``sum`` instead.
    """
    found: dict[str, list[dict[str, object]]] = {}
    for metric, labels, value in samples:
        row: dict[str, object] = {"labels": dict(zip(metric.labels, labels, strict=True))}
        if isinstance(value, Buckets):
            row |= {"counts": value.counts, "sum": value.sum}
        else:
            row["value"] = value
        found.setdefault(metric.name, []).append(row)
    return found


def read_document(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Sample]:
    """Yield the samples of what `document` returned. Metrics that this version does not know are left out.

    Raises:
        KeyError, TypeError, ValueError: it is no such JSON.
    """
    for name, rows in found.items():
        metric = METRICS.get(name)
        if metric is None:
            continue
        for row in rows:
            labels = tuple(str(row["labels"][label]) for label in metric.labels)
            if metric.kind is MetricKind.HISTOGRAM:
                counts = tuple(int(count) for count in row["counts"])
                if len(counts) != len(BOUNDS) + 1:
                    raise ValueError(f"{name} has {len(counts)} buckets")
                yield Sample(metric, labels, Buckets(counts, float(row["sum"])))
            else:
                yield Sample(metric, labels, float(row["value"]))


def _buckets(histogram: Histogram) -> Buckets:
    return Buckets(tuple(histogram.counts), histogram.sum)


def _shown(name: str) -> str:
    """Return a name of the configuration as the log shows it."""
    return printable(name)
