"""What the log says while connections wait for places, or are ended to make room: each thing once, or once a minute."""

from __future__ import annotations

import logging
from collections import Counter

import trio

from chainsocks.observe.privacy import private

__all__ = ["REPORT_INTERVAL", "Pressure"]

log = logging.getLogger("chainsocks.server")

REPORT_INTERVAL = 60
"""Seconds between two lines in the log that say how many connections were ended."""


class Pressure:
    """See the module."""

    def __init__(self) -> None:
        self._said = set[str]()
        self._ended = Counter[str]()  # since the last report, by client
        self._has_ended = trio.Event()

    def sessions_are_taken(self, limited_by: str) -> None:
        """Say that all sessions are; `limited_by` says how many there may be."""
        self._say("%s is reached: further connections wait", limited_by)

    def one_client_has_most(self, limited_by: str) -> None:
        """Say that one client has all but the reserve."""
        self._say("one client has reached %s but for a reserve for others: its further connections wait", limited_by)

    def handshakes_are_taken(self, most: int) -> None:
        """Say that as many connections as may be are without a complete request."""
        self._say("handshakes (%s) is reached: further connections wait until others have sent their requests", most)

    def count_ended(self, client: str) -> None:
        """Count a connection of a client that was ended."""
        self._ended[client] += 1
        self._has_ended.set()

    async def report(self) -> None:
        """Say how many connections were ended, the first time at once; until cancelled."""
        while True:
            await self._has_ended.wait()
            [(client, most)] = self._ended.most_common(1)
            what = (
                "connections ended to make room for others, before their requests were complete: %d, %d of them of %s"
            )
            log.warning(what, self._ended.total(), most, private(client or "unix sockets", "one client"))
            self._ended.clear()
            self._has_ended = trio.Event()
            await trio.sleep(REPORT_INTERVAL)

    def _say(self, what: str, limit: object) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning(what, limit)
