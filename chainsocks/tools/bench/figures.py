"""What is measured: each figure's name, unit and better end. The table, the JSON and the plot are made of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import get_args

from chainsocks.tools.bench.bulk import Bulk, Direction
from chainsocks.tools.bench.echo import Echo
from chainsocks.tools.bench.sessions import Sessions

__all__ = [
    "BESIDE",
    "DIRECTIONS",
    "IDLE_MEMORY",
    "MEASURES",
    "STREAMS",
    "Column",
    "Figures",
    "Measure",
    "Part",
    "Unit",
    "figures_of_bulk",
    "figures_of_echo",
    "figures_of_sessions",
    "title_of_bulk",
]

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
STREAMS = (1, 8)
BESIDE = 8
"""Streams of bulk beside an echo."""

GIB = 1 << 30


class Part(StrEnum):
    """What can be measured by itself."""

    BULK = "bulk"
    SESSIONS = "sessions"
    ECHO = "echo"
    IDLE = "idle"


class Unit(StrEnum):
    """What a number is a number of, as the table shows it; `per` is how many of them make one of the figure's own."""

    RATE = "MiB/s"
    CPU = "ms CPU/GiB"
    SESSIONS = "sessions/s"
    CPU_EACH = "us CPU/session"
    LATENCY = "us"
    MEMORY = "KiB/session"

    @property
    def per(self) -> float:
        """Multiply a figure with it."""
        return {
            Unit.RATE: 1 / (1 << 20),
            Unit.CPU: 1e3,
            Unit.CPU_EACH: 1e6,
            Unit.LATENCY: 1e6,
            Unit.MEMORY: 1 / (1 << 10),
        }.get(self, 1)


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: `key` is its name in JSON, where it is in bytes and seconds; `title` is for people."""

    key: str
    title: str
    part: Part
    unit: Unit

    @property
    def more_is_better(self) -> bool:
        """Whether a greater figure is a better one."""
        return self.unit in (Unit.RATE, Unit.SESSIONS)


Figures = Mapping[Measure, float]


@dataclass(slots=True)
class Column:
    """All that was measured of one way."""

    name: str
    hops: tuple[str, ...]
    figures: dict[Measure, float] = field(default_factory=dict)


def title_of_bulk(direction: Direction, streams: int) -> str:
    """Name a measurement of bulk for people."""
    where = "both ways" if direction == "both" else direction
    return f"bulk {where}, {streams} stream{'' if streams == 1 else 's'}"


_FLOWS = tuple((direction, streams) for direction in DIRECTIONS for streams in STREAMS)
_RATES = {
    flow: Measure(f"bulk_{flow[0]}_{flow[1]}_bytes_per_second", title_of_bulk(*flow), Part.BULK, Unit.RATE)
    for flow in _FLOWS
}
_COSTS = {
    flow: Measure(f"bulk_{flow[0]}_{flow[1]}_cpu_seconds_per_gib", title_of_bulk(*flow), Part.BULK, Unit.CPU)
    for flow in _FLOWS
}
_SESSIONS = Measure("sessions_per_second", "sessions", Part.SESSIONS, Unit.SESSIONS)
_SESSION_COST = Measure("session_cpu_seconds", "sessions", Part.SESSIONS, Unit.CPU_EACH)
_LATENCIES = {
    (percent, beside): Measure(
        f"echo_{f'beside_{beside}_' if beside else ''}p{percent}_seconds",
        f"echo{f' beside {beside} streams' if beside else ''}, p{percent}",
        Part.ECHO,
        Unit.LATENCY,
    )
    for beside in (0, BESIDE)
    for percent in (50, 99)
}
IDLE_MEMORY = Measure("idle_session_bytes", "idle session, memory", Part.IDLE, Unit.MEMORY)

MEASURES: tuple[Measure, ...] = (
    *_RATES.values(),
    *_COSTS.values(),
    _SESSIONS,
    _SESSION_COST,
    *_LATENCIES.values(),
    IDLE_MEMORY,
)
"""All of them, in the order in which they are shown."""


def figures_of_bulk(direction: Direction, streams: int, bulk: Bulk) -> Figures:
    """Return the rate, and what a GiB cost if somebody was watched."""
    flow = direction, streams
    figures = {_RATES[flow]: bulk.bytes / bulk.seconds}
    if bulk.cpu is not None:
        figures[_COSTS[flow]] = bulk.cpu * GIB / bulk.bytes
    return figures


def figures_of_sessions(sessions: Sessions) -> Figures:
    """Return the rate, and what a session cost if somebody was watched."""
    figures = {_SESSIONS: sessions.count / sessions.seconds}
    if sessions.cpu is not None:
        figures[_SESSION_COST] = sessions.cpu / sessions.count
    return figures


def figures_of_echo(echo: Echo, beside: int) -> Figures:
    """Return the percentiles; `beside` is the number of streams beside the echo."""
    return {_LATENCIES[50, beside]: echo.p50, _LATENCIES[99, beside]: echo.p99}
