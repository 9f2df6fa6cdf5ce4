"""The figures that are measured, with their units, and the results of measuring them once or several times.

The table, the JSON, the chart and the benchmarks' comparison are made of these.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import get_args

from chainsocks.tools.bench.bulk import Direction

__all__ = [
    "BESIDE",
    "BESIDE_RATE",
    "COSTS",
    "DIRECTIONS",
    "FIGURES",
    "IDLE_MEMORY",
    "LATENCIES",
    "RATES",
    "SESSION_COST",
    "SESSION_RATE",
    "STREAMS",
    "Figure",
    "Results",
    "Sample",
    "Unit",
    "title_of_bulk",
]

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
STREAMS = (1, 8)
BESIDE = 8
"""Streams of bulk beside an echo."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a table: a figure in bytes and seconds is multiplied by `per`."""

    name: str
    per: float = 1
    more_is_better: bool = field(default=False, kw_only=True)


_RATE = Unit("MiB/s", 1 / (1 << 20), more_is_better=True)
_CPU = Unit("ms CPU/GiB", 1e3)
_LATENCY = Unit("us", 1e6)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that is measured: `key` is its name in JSON, in bytes and seconds; `title` is for people."""

    key: str
    title: str
    unit: Unit


Sample = Mapping[Figure, float]
"""The figures of one measurement."""


def title_of_bulk(direction: Direction, streams: int) -> str:
    """Name a measurement of bulk for people."""
    where = "both ways" if direction == "both" else direction
    return f"bulk {where}, {streams} stream{'' if streams == 1 else 's'}"


_FLOWS = tuple((direction, streams) for direction in DIRECTIONS for streams in STREAMS)
RATES = {flow: Figure(f"bulk_{flow[0]}_{flow[1]}_bytes_per_second", title_of_bulk(*flow), _RATE) for flow in _FLOWS}
COSTS = {flow: Figure(f"bulk_{flow[0]}_{flow[1]}_cpu_seconds_per_gib", title_of_bulk(*flow), _CPU) for flow in _FLOWS}
SESSION_RATE = Figure("sessions_per_second", "sessions", Unit("sessions/s", more_is_better=True))
SESSION_COST = Figure("session_cpu_seconds", "sessions", Unit("us CPU/session", 1e6))
LATENCIES = {
    (percent, beside): Figure(
        f"echo_{f'beside_{beside}_' if beside else ''}p{percent}_seconds",
        f"echo{f' beside {beside} streams' if beside else ''}, p{percent}",
        _LATENCY,
    )
    for beside in (0, BESIDE)
    for percent in (50, 99)
}
BESIDE_RATE = Figure(f"echo_beside_{BESIDE}_bytes_per_second", f"echo beside {BESIDE} streams, bulk", _RATE)
IDLE_MEMORY = Figure("idle_session_bytes", "idle session, memory", Unit("KiB/session", 1 / (1 << 10)))

FIGURES: tuple[Figure, ...] = (
    *RATES.values(),
    BESIDE_RATE,
    *COSTS.values(),
    SESSION_RATE,
    SESSION_COST,
    *LATENCIES.values(),
    IDLE_MEMORY,
)
"""The figures of `chainsocks bench`, in the order of its table."""


@dataclass(slots=True)
class Results:
    """Samples by figure and by the name of what was measured; ratios are to the medians of `reference`."""

    reference: str
    samples: dict[Figure, dict[str, list[float]]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    """By name: what the numbers do not tell, or why there are none."""
    failed: set[str] = field(default_factory=set)
    """The names of what could not be measured."""

    def add(self, name: str, sample: Sample) -> None:
        """Add the figures of one measurement."""
        for figure, value in sample.items():
            self.samples.setdefault(figure, {}).setdefault(name, []).append(value)

    def note(self, name: str, text: str) -> None:
        """Add a note, unless it is there already."""
        notes = self.notes.setdefault(name, [])
        if text not in notes:
            notes.append(text)

    def fail(self, name: str, problem: str) -> None:
        """Note that something could not be measured."""
        self.failed.add(name)
        self.note(name, f"FAILED: {' '.join(problem.split())}")

    @property
    def note_lines(self) -> list[str]:
        """All notes, a line for each."""
        return [f"{name}: {text}" for name, texts in self.notes.items() for text in texts]

    def median(self, figure: Figure, name: str) -> float | None:
        """Return the median of the samples; None without any."""
        samples = self.samples.get(figure, {}).get(name)
        return statistics.median(samples) if samples else None

    def ratio(self, figure: Figure, name: str) -> float | None:
        """Return how many times the median of the reference this median is; None where that says nothing."""
        base, value = self.median(figure, self.reference), self.median(figure, name)
        return value / base if base and value is not None else None

    def best(self, figure: Figure, names: Collection[str]) -> str | None:
        """Return which of `names` has the best median; None when none has one."""
        medians = {name: value for name in names if (value := self.median(figure, name)) is not None}
        choose = max if figure.unit.more_is_better else min
        return choose(medians, key=medians.__getitem__) if medians else None
