"""The figures: their names, their units, and how they come from what was measured."""

from __future__ import annotations

import re

import pytest

from chainsocks.tools.bench.bulk import Bulk
from chainsocks.tools.bench.echo import Echo
from chainsocks.tools.bench.figures import (
    BESIDE,
    IDLE_MEMORY,
    MEASURES,
    Figures,
    Part,
    Unit,
    figures_of_bulk,
    figures_of_echo,
    figures_of_sessions,
)
from chainsocks.tools.bench.sessions import Sessions

KEYS = [
    *(f"bulk_{direction}_{streams}_bytes_per_second" for direction in ("up", "down", "both") for streams in (1, 8)),
    *(f"bulk_{direction}_{streams}_cpu_seconds_per_gib" for direction in ("up", "down", "both") for streams in (1, 8)),
    "sessions_per_second",
    "session_cpu_seconds",
    "echo_p50_seconds",
    "echo_p99_seconds",
    "echo_beside_8_p50_seconds",
    "echo_beside_8_p99_seconds",
    "idle_session_bytes",
]


def by_key(figures: Figures) -> dict[str, float]:
    return {measure.key: value for measure, value in figures.items()}


def test_the_names_are_a_promise() -> None:
    assert [measure.key for measure in MEASURES] == KEYS
    assert {measure.part for measure in MEASURES} == set(Part)


def test_titles_are_for_people_and_told_apart() -> None:
    assert len({(measure.title, measure.unit) for measure in MEASURES}) == len(MEASURES)
    assert MEASURES[0].title == "bulk up, 1 stream"
    assert MEASURES[5].title == "bulk both ways, 8 streams"
    assert all(re.fullmatch(r"[a-z0-9 ,]+", measure.title) for measure in MEASURES)


def test_which_end_is_better() -> None:
    better = {measure.key for measure in MEASURES if measure.more_is_better}
    assert better == {key for key in KEYS if key.endswith("per_second")}


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        (Unit.RATE, 3 << 20, 3),
        (Unit.CPU, 0.25, 250),
        (Unit.SESSIONS, 1234, 1234),
        (Unit.CPU_EACH, 0.0003, 300),
        (Unit.LATENCY, 0.00015, 150),
        (Unit.MEMORY, 9216, 9),
    ],
)
def test_units(unit: Unit, value: float, shown: float) -> None:
    assert value * unit.per == pytest.approx(shown)


def test_of_bulk() -> None:
    bulk = Bulk(up=1 << 29, down=1 << 29, seconds=2, cpu=0.5)
    assert by_key(figures_of_bulk("both", 8, bulk)) == {
        "bulk_both_8_bytes_per_second": 1 << 29,
        "bulk_both_8_cpu_seconds_per_gib": 0.5,
    }
    assert by_key(figures_of_bulk("up", 1, Bulk(up=100, down=0, seconds=0.5))) == {"bulk_up_1_bytes_per_second": 200}


def test_of_sessions() -> None:
    assert by_key(figures_of_sessions(Sessions(500, 2, cpu=0.1))) == {
        "sessions_per_second": 250,
        "session_cpu_seconds": 0.0002,
    }
    assert by_key(figures_of_sessions(Sessions(500, 2))) == {"sessions_per_second": 250}


def test_of_an_echo() -> None:
    echo = Echo(tuple(number / 100 for number in range(1, 101)))
    assert by_key(figures_of_echo(echo, 0)) == {"echo_p50_seconds": 0.5, "echo_p99_seconds": 0.99}
    assert by_key(figures_of_echo(echo, BESIDE)) == {
        "echo_beside_8_p50_seconds": 0.5,
        "echo_beside_8_p99_seconds": 0.99,
    }


def test_of_idle_sessions() -> None:
    assert (IDLE_MEMORY.key, IDLE_MEMORY.unit) == ("idle_session_bytes", Unit.MEMORY)
