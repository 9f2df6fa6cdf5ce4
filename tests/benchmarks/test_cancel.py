from __future__ import annotations

import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import cancel
from benchmarks.cancel import measure_cancel
from benchmarks.peers import open_ours
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.target import open_target
from chainsocks.tools.bench.way import BenchError, Way
from tests.e2e.targets import serving


@pytest.mark.measure
def test_the_time_from_the_signal_to_the_last_end_is_taken(tmp_path: Path) -> None:
    with open_target() as target, open_ours(tmp_path, "[timeouts]", "grace = 0.001") as running:
        way = Way("ours", (Hop("ours", HopProtocol.SOCKS5, running.address),))
        flowed: list[int] = []

        def end() -> None:
            flowed.append(target.open_connections)
            running.send_signal(signal.SIGTERM)

        took = measure_cancel(way, target, streams=3, seconds=0.05, cancel=end)
        assert flowed == [3]
        assert took > 0
        assert target.wait_until_quiet()


def test_streams_that_go_on_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "LIMIT", 0.1)
    with open_target() as target, pytest.raises(BenchError, match=r"2 of 2 streams still flow 0\.1 s after"):
        measure_cancel(Way("direct"), target, streams=2, seconds=0.01, cancel=lambda: None)


def test_streams_that_end_by_themselves_are_an_error() -> None:
    def close(_: socket.socket) -> None:
        pass

    with open_target() as target, serving(close) as (host, port):
        away = replace(target, source=Address(host, port))
        with pytest.raises(BenchError, match="2 of 2 streams ended by themselves"):
            measure_cancel(Way("direct"), away, streams=2, seconds=20, cancel=lambda: None)
