"""What every test of the server has."""

import logging

import pytest

from tests.net.sockets import nothing_left_open, sockets_on_mock_clock

__all__ = ["log", "nothing_left_open", "sockets_on_mock_clock"]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Everything that the server logs."""
    logger = logging.getLogger("chainsocks")
    monkeypatch.setattr(logger, "propagate", True)  # a test of the command line may have turned it off
    caplog.set_level(logging.DEBUG, logger=logger.name)
    return caplog
