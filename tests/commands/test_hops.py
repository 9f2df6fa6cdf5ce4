"""`chainsocks hops`: the health of hops, and its change by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chainsocks.control.messages import HopState
from tests.commands import run_main
from tests.control.fleets import HOP, FakeFleet

Capture = pytest.CaptureFixture[str]


def test_hops(capsys: Capture, path: Path) -> None:
    status, out, err = run_main(capsys, "hops", "--control", path)
    assert (status, err) == (0, "")
    header, row, *why = out.splitlines()
    assert header.split() == ["hop", "address", "chains", "state", "since", "retry", "sessions", "success"]
    cells = ["osaka", "socks5 10.0.0.2:1080", "default", "backoff", "2.5 s", "1.5 s", "2", "9.0 s ago"]
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == cells
    assert why == ["", "osaka: no answer"]


@pytest.mark.parametrize(
    ("changed", "cell"),
    [
        ({"retry": 0.0}, "next request"),
        ({"workers": 2, "workers_avoiding": 1}, "backoff in 1 of 2 workers"),
        ({"workers": 2, "workers_avoiding": 2}, "  backoff  "),
    ],
)
def test_states(capsys: Capture, fleet: FakeFleet, path: Path, changed: dict[str, Any], cell: str) -> None:
    fleet.hops_now = [replace(HOP, **changed)]
    assert cell in run_main(capsys, "hops", "--control", path)[1]


def test_hops_that_are_well_fit_80_columns(capsys: Capture, fleet: FakeFleet, path: Path) -> None:
    well = replace(HOP, state=HopState.WELL, why=None, since=None, retry=None, latency=0.0123)
    fleet.hops_now = [well, replace(well, name="lima", address="192.0.2.200:1080", success=None)]
    lines = run_main(capsys, "hops", "--control", path)[1].splitlines()
    assert (len(lines), max(map(len, lines)) <= 80) == (3, True)


def test_a_hop_is_rested_and_woken(capsys: Capture, fleet: FakeFleet, path: Path) -> None:
    for option in ("--rest", "--wake"):
        status, out, err = run_main(capsys, "hops", "--control", path, "--json", option, "osaka")
        assert (status, err) == (0, "")
        assert [hop["name"] for hop in json.loads(out)["hops"]] == ["osaka"]
    assert fleet.told == [("rest", "osaka"), ("wake", "osaka")]
    assert run_main(capsys, "hops", "--control", path, "--rest", "oslo") == (
        1,
        "",
        "chainsocks: no hop is called oslo\n",
    )
    assert run_main(capsys, "hops", "--control", path, "--rest", "osaka", "--wake", "osaka")[0] == 2
