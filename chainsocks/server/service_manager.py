"""Tell the service manager how the server is: the protocol of sd_notify(3).

A message is a datagram of lines such as ``READY=1``, to the socket that systemd names in the environment. systemd 249
and later, and other managers that have taken it over, understand it. Without such a socket, all of this does nothing.

1. ``READY=1`` once connections are accepted, and again after each reload, whatever has come of it.
2. ``RELOADING=1`` with the time of the clock that ``CLOCK_MONOTONIC`` is, as units of ``Type=notify-reload`` need it.
3. ``STOPPING=1`` when the server stops, with the time that it may take.
4. ``STATUS=`` with one sentence, when that has changed.
5. ``WATCHDOG=1`` several times in each period of the watchdog, but only while every event loop moves.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import MutableMapping

__all__ = ["ServiceManager"]

log = logging.getLogger("chainsocks.server")

STATUS_INTERVAL = 5.0
"""Seconds between two looks whether the status has changed."""

BEATS = 4
"""Messages to the watchdog in each period; systemd asks for two at least."""

STOP_MARGIN = 5.0
"""Seconds beyond `grace` that stopping may take."""


class ServiceManager:
    """The service manager that has started this process, if there is one. Nothing here blocks."""

    def __init__(self, address: str = "", watchdog: float = math.inf) -> None:
        """Tell the socket at `address`, where ``@`` begins an abstract one; `watchdog` is its period in seconds."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._has_watchdog = watchdog < math.inf
        self._status = ""
        self._prefix = ""
        self.interval = min(STATUS_INTERVAL, watchdog / BEATS) if address else math.inf
        """Seconds after which `is_alive` is to be called again; infinite where nothing asks for it."""

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> ServiceManager:
        """Return the one that the environment names, and take it out there: it is not for other programs."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):
            return cls()
        is_watched = period.isdecimal() and int(period) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(period) / 1e6 if is_watched else math.inf)

    def is_ready(self, status: object) -> None:
        """Say that connections are accepted; `status` is a sentence."""
        self._status = f"{self._prefix}{status}"
        self._send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={self._status}")

    def is_reloading(self) -> None:
        """Say that the configuration is being read; `is_ready` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def is_alive(self, status: object) -> None:
        """Say that every event loop moves; `status` is a sentence."""
        lines = ["WATCHDOG=1"] if self._has_watchdog else []
        sentence = f"{self._prefix}{status}"
        if sentence != self._status:
            self._status = sentence
            lines.append(f"STATUS={sentence}")
        self._send(*lines)

    def is_stopping(self, grace: float) -> None:
        """Say that the server stops, which may take `grace` seconds and a little more."""
        self._prefix = "stopping: "
        lines = ["STOPPING=1"]
        if grace < math.inf:
            lines.append(f"EXTEND_TIMEOUT_USEC={int((grace + STOP_MARGIN) * 1e6)}")
        self._send(*lines)

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)  # noqa: FBT003
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("the service manager cannot be told %s: %s", lines[0], error.strerror)
