"""`chainsocks reload`: what it prints, and its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_main
from tests.control.fleets import FakeFleet

Capture = pytest.CaptureFixture[str]


def test_reload(capsys: Capture, fleet: FakeFleet, path: Path) -> None:
    done = "reloaded: new sessions use chainsocks.toml\n"
    assert run_main(capsys, "reload", "--control", path) == (0, done, "")
    fleet.problems = ("chainsocks.toml: hops.osaka: unknown key", "chainsocks.toml: users: is odd")
    assert run_main(capsys, "reload", "--control", path) == (
        2,
        "",
        "chainsocks: chainsocks.toml: hops.osaka: unknown key\n"
        "chainsocks: chainsocks.toml: users: is odd\n"
        "chainsocks: not reloaded: the server goes on with the configuration that it had\n",
    )
