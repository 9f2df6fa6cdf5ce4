"""What the tests of commands that ask a running server have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.answering import answering
from tests.control.fleets import FakeFleet

__all__ = ["fleet", "path"]


@pytest.fixture
def fleet() -> FakeFleet:
    """What a server answers, and is told."""
    return FakeFleet()


@pytest.fixture
def path(fleet: FakeFleet) -> Iterator[Path]:
    """The control socket of that server."""
    with answering(fleet) as path:
        yield path
