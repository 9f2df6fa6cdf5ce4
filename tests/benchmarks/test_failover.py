from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import failover
from benchmarks.dying import FIRST, Effort, Run, Scenario
from benchmarks.failover import SCENARIOS, broken_promises, main, tabulate
from benchmarks.steady import Session
from benchmarks.tables import render_results
from chainsocks.tools.bench.figures import Results

EFFORT = Effort(limit=1)
LOST = "it broke"


def fine(due: float, hop: str = "second", took: float = 0.25) -> tuple[Session, str]:
    return Session(due, due + took / 2, due + took, "127.0.0.1:1"), hop


def lost(due: float, hop: str = "") -> tuple[Session, str]:
    return Session(due, due + 0.1 if hop else math.nan, due + 0.5, "127.0.0.1:1" if hop else "", LOST), hop


WELL = (fine(0, FIRST), fine(1, FIRST, 0.5), lost(1.9, FIRST), fine(2.25, took=0.75), fine(4), fine(5.5, FIRST))
"""It dies at 2, and lives from 5 on."""


def run(*sessions: tuple[Session, str], refusals: tuple[str, ...] = ()) -> Run:
    return Run(sessions, 2.0, 5.0, refusals)


def test_the_table_has_each_slice_of_time() -> None:
    results = Results("")
    tabulate(SCENARIOS[0], [run(*WELL), run(*WELL, lost(3.5), refusals=("hop second failed",))], EFFORT, results)
    rows = [re.split(r"  +", line) for line in render_results(results, ()).splitlines()]
    assert rows[1:5] == [
        ["killed: before", "4", "0", "250", "500"],
        ["killed: within the limit", "4", "0", "750", "750"],
        ["killed: without the hop", "3", "1", "250", "250"],
        ["killed: since it is back", "2", "0", "250", "250"],
    ]
    assert [row[0] for row in rows[5:]] == [
        "killed: 2 sessions were open when the hop died, 2 of them were cut off with it",
        "killed: the hop was used again 0.6 s, 0.6 s after it could be",
        "killed: 100% of the sessions used it from then on",
        "killed: 1 x it broke",
        "killed: 1 x hop second failed",
    ]


@pytest.mark.parametrize(
    ("sessions", "broken"),
    [
        (WELL, []),
        ((*WELL, lost(2.5)), []),
        ((*WELL, lost(1.8)), []),
        ((*WELL, lost(1)), ["1 requests failed outside of the limit"]),
        ((*WELL, lost(3), lost(6)), ["2 requests failed outside of the limit"]),
        (WELL[:-1], ["the hop was not used again"]),
    ],
    ids=["well", "within the limit", "on its way", "before", "later", "never back"],
)
def test_promises(sessions: tuple[tuple[Session, str], ...], broken: list[str]) -> None:
    assert broken_promises([run(*WELL), run(*sessions)], EFFORT) == broken


@pytest.mark.parametrize(("extra", "status"), [((), 0), ((lost(3),), 1)])
def test_a_broken_promise_is_in_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, extra: tuple[tuple[Session, str], ...], status: int
) -> None:
    deaths: list[tuple[str, float]] = []

    def run_once(scenario: Scenario, effort: Effort, folder: Path) -> Run:
        assert folder.is_dir()
        deaths.append((scenario.name, effort.rate))
        return run(*WELL, *extra)

    monkeypatch.setattr(failover, "run_once", run_once)
    done = CliRunner().invoke(main, ["--markdown", "--rounds", "2", "--rate", "100"])
    assert done.exit_code == status
    assert deaths == [(scenario.name, 100) for scenario in SCENARIOS for _ in range(2)]
    assert re.search(r"\| mute, with a hedge: before +\| +4 \| +0 \| +250 \| +500 \|", done.output)
    assert ("killed: 2 requests failed outside of the limit" in done.output) == bool(status)
    done = CliRunner().invoke(main, ["--smoke", "--only", "mute"])
    assert deaths[len(SCENARIOS) * 2 :] == [("mute", failover.SMOKE.rate)]
    assert done.exit_code == status
