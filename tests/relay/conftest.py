"""What every test of the relay has."""

from dataclasses import replace
from functools import partial

import pytest
from trio.testing import MockClock

from chainsocks.net.poller import Poller
from tests.net.sockets import nothing_left_open, poller
from tests.relay.ways import WAYS, Direction, Way
from tests.systems import without_splice

__all__ = ["clock", "direction", "nothing_left_open", "poller", "row", "way"]


@pytest.fixture(params=[pytest.param(way, id=way.name) for way in WAYS])
def row(request: pytest.FixtureRequest) -> Way:
    """Run a test over every way that there is."""
    chosen: Way = request.param
    return chosen


@pytest.fixture
async def way(row: Way, poller: Poller, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The way that a test runs over, with the poller if it needs one."""
    if not row.splices:
        without_splice(monkeypatch)
    return replace(row, open_line=partial(row.open_line, poller)) if row.polled else row


@pytest.fixture
def clock(autojump_clock: MockClock, row: Way) -> MockClock:
    """The mock clock, as patient as this way needs it."""
    autojump_clock.autojump_threshold = row.patience
    return autojump_clock


@pytest.fixture(params=[pytest.param(direction, id=direction.name.lower()) for direction in Direction])
def direction(request: pytest.FixtureRequest) -> Direction:
    """Run a test for each direction."""
    chosen: Direction = request.param
    return chosen
