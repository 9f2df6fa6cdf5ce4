"""What the tests of commands that ask a running server have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.answering import answering
from tests.control.fleets import FakeFleet

__all__ = ["fleet", "no_other_server", "path"]


@pytest.fixture(autouse=True)
def no_other_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the commands away from the servers of this machine, which a test of ``drain`` would stop."""
    monkeypatch.setattr("chainsocks.control.place.SYSTEM_PLACE", tmp_path / "system" / "control")


@pytest.fixture
def fleet() -> FakeFleet:
    """What a server answers, and is told."""
    return FakeFleet()


@pytest.fixture
def path(fleet: FakeFleet) -> Iterator[Path]:
    """The control socket of that server."""
    with answering(fleet) as path:
        yield path
