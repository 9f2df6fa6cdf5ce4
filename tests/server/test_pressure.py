"""What the log says while places are short."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.server.pressure import REPORT_INTERVAL, Pressure
from tests.server.serving import said


async def test_each_thing_is_said_once(log: pytest.LogCaptureFixture) -> None:
    pressure = Pressure()
    for _ in range(3):
        pressure.sessions_are_taken("max_sessions (7)")
        pressure.one_client_has_most("max_sessions (7)")
        pressure.handshakes_are_taken(5)
    assert said(log, logging.WARNING) == [
        "max_sessions (7) is reached: further connections wait",
        "one client has reached max_sessions (7) but for a reserve for others: its further connections wait",
        "handshakes (5) is reached: further connections wait until others have sent their requests",
    ]


async def test_what_was_ended_is_told_at_once_and_then_once_a_minute(
    autojump_clock: MockClock, nursery: trio.Nursery, log: pytest.LogCaptureFixture
) -> None:
    pressure = Pressure()
    nursery.start_soon(pressure.report)
    pressure.count_ended("192.0.2.1")
    await wait_all_tasks_blocked()
    for client in ("192.0.2.1", "", ""):
        pressure.count_ended(client)
    await trio.sleep(REPORT_INTERVAL - 1)
    assert len(said(log, logging.WARNING)) == 1
    await trio.sleep(2)
    what = "connections ended to make room for others, before their requests were complete: "
    assert said(log, logging.WARNING) == [f"{what}1, 1 of them of 192.0.2.1", f"{what}3, 2 of them of unix sockets"]
    nursery.cancel_scope.cancel()
