"""What every test of the server has."""

import logging

import pytest

from chainsocks.server.lane import Lane
from tests.net.sockets import nothing_left_open, sockets_on_mock_clock

__all__ = ["each_session_way", "log", "nothing_left_open", "sockets_on_mock_clock"]


@pytest.fixture(params=["lane", "task"])
def each_session_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way that direct sessions of the test use: it runs once for each."""
    way: str = request.param
    if way == "task":
        monkeypatch.setattr(Lane, "begin", lambda *_: False)
    return way


@pytest.fixture
def log(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """Everything that the server logs; without debugging lines where sessions use the lane, which writes none."""
    in_lane = "each_session_way" in request.fixturenames and request.getfixturevalue("each_session_way") == "lane"
    logger = logging.getLogger("chainsocks")
    monkeypatch.setattr(logger, "propagate", True)  # a test of the command line may have turned it off
    caplog.set_level(logging.INFO if in_lane else logging.DEBUG, logger=logger.name)
    return caplog
