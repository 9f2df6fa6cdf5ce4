"""What every test of the relay has."""

import pytest
from trio.testing import MockClock

from tests.net.ceiling import pytest_runtest_call
from tests.net.sockets import nothing_left_open
from tests.relay.ways import WAYS, Direction, Way

__all__ = ["clock", "direction", "nothing_left_open", "pytest_runtest_call", "way"]


@pytest.fixture(params=[pytest.param(way, id=way.name) for way in WAYS])
def way(request: pytest.FixtureRequest) -> Way:
    """Run a test over every way that there is."""
    chosen: Way = request.param
    return chosen


@pytest.fixture
def clock(autojump_clock: MockClock, way: Way) -> MockClock:
    """The mock clock, as patient as this way needs it."""
    autojump_clock.autojump_threshold = way.patience
    return autojump_clock


@pytest.fixture(params=[pytest.param(direction, id=direction.name.lower()) for direction in Direction])
def direction(request: pytest.FixtureRequest) -> Direction:
    """Run a test for each direction."""
    chosen: Direction = request.param
    return chosen
