"""`chainsocks status`: what it prints, and its exit status."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands import run_main
from tests.control.fleets import STATUS, FakeFleet

Capture = pytest.CaptureFixture[str]


def test_a_degraded_status(capsys: Capture, path: Path) -> None:
    assert run_main(capsys, "status", "--control", path) == (
        1,
        "running for 1 min, pid 17, chainsocks 1\n"
        "sessions: 3 of 100; connections that wait for one: 0\n"
        "sessions ended since its start: 0; failed: 0; 0 B up, 0 B down\n"
        "hops: 1 of 2 well\n"
        "listening on 127.0.0.1:1080\n"
        "trouble: hop osaka is avoided\n",
        "",
    )


def test_a_status_that_is_well(capsys: Capture, fleet: FakeFleet, path: Path) -> None:
    fleet.status_now = replace(STATUS, trouble=(), hops_well=2)
    status, out, err = run_main(capsys, "status", "--control", path)
    assert (status, err) == (0, "")
    assert "trouble" not in out


def test_a_status_for_programs(capsys: Capture, path: Path) -> None:
    status, out, err = run_main(capsys, "status", "--json", "--control", path)
    assert (status, err) == (1, "")
    assert json.loads(out)["trouble"] == ["hop osaka is avoided"]
    status, out, _ = run_main(capsys, "status", "--json")
    assert (status, json.loads(out)) == (3, {"state": "not running"})
