"""What every test of the network has."""

from tests.net.ceiling import pytest_runtest_call
from tests.net.sockets import nothing_left_open, poller, sockets_on_mock_clock

__all__ = ["nothing_left_open", "poller", "pytest_runtest_call", "sockets_on_mock_clock"]
