"""`chainsocks sessions`: which it lists, and which it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chainsocks.control.messages import Request, What
from tests.commands import run_main
from tests.control.fleets import SESSION, FakeFleet, some_sessions

Capture = pytest.CaptureFixture[str]


def test_sessions(capsys: Capture, path: Path) -> None:
    status, out, err = run_main(capsys, "sessions", "--control", path)
    assert (status, err) == (0, "")
    heading, row = out.splitlines()
    assert heading.split() == ["id", "client", "user", "destination", "way", "now", "age", "up", "down"]
    step = "osaka: username/password sub-negotiation, 3.2 s left"
    cells = ["2-17", "127.0.0.1:40000", "carol", "example.org:443", "default: paris, osaka", step]
    assert [cell for cell in row.split("  ") if cell] == [*cells, "1.5", "10", "20"]


def test_sessions_are_chosen(capsys: Capture, fleet: FakeFleet, path: Path) -> None:
    fleet.rows = [*some_sessions(70), replace(SESSION, id="80", user="dave"), replace(SESSION, id="81", chain="onion")]

    def ids(*options: str) -> list[str]:
        status, out, _ = run_main(capsys, "sessions", "--json", "--control", path, *options)
        assert status == 0
        return [session["id"] for session in json.loads(out)["sessions"]]

    assert len(ids()) == 72
    assert ids("--user", "dave") == ["80"]
    assert ids("--chain", "onion") == ["81"]
    assert ids("--chain", "onion", "--user", "dave") == []


@pytest.mark.parametrize(
    ("options", "request_"),
    [
        (["--kill", "2-17"], Request(what=What.KILL, session="2-17")),
        (["--kill", "all", "--user", "carol"], Request(what=What.KILL, user="carol")),
        (
            ["--kill", "all", "--user", "carol", "--chain", "onion"],
            Request(what=What.KILL, user="carol", chain="onion"),
        ),
    ],
)
def test_sessions_are_ended(
    capsys: Capture, fleet: FakeFleet, path: Path, options: list[str], request_: Request
) -> None:
    assert run_main(capsys, "sessions", "--control", path, *options) == (0, "sessions ended: 1\n", "")
    assert run_main(capsys, "sessions", "--control", path, "--json", *options) == (0, '{"count": 1}\n', "")
    assert fleet.told == [request_] * 2


@pytest.mark.parametrize("options", [["--kill", "all"], ["--kill", "2-17", "--user", "carol"]])
def test_what_is_to_be_ended_has_to_be_clear(capsys: Capture, fleet: FakeFleet, path: Path, options: list[str]) -> None:
    status, _, err = run_main(capsys, "sessions", "--control", path, *options)
    assert status == 2
    assert "--kill all needs --chain or --user" in err
    assert fleet.told == []
