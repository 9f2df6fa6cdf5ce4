"""`chainsocks hops`: the health of hops, and its change by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import run_main
from tests.control.fleets import FakeFleet

Capture = pytest.CaptureFixture[str]


def test_hops(capsys: Capture, path: Path) -> None:
    status, out, err = run_main(capsys, "hops", "--control", path)
    assert (status, err) == (0, "")
    state = "backoff, for 2.5 s, tried again in 1.5 s"
    cells = ["osaka", "socks5 10.0.0.2:1080", "default", state, "2", "9.0 s ago", "no answer"]
    assert [cell.strip() for cell in out.splitlines()[1].split("  ") if cell.strip()] == cells


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
