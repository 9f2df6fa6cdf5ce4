"""What every test of the network has."""

from tests.net.sockets import nothing_left_open, poller, sockets_on_mock_clock

__all__ = ["nothing_left_open", "poller", "sockets_on_mock_clock"]
