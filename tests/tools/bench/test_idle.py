"""Idle sessions: they are there, they have carried something, and they are gone afterwards."""

from __future__ import annotations

import pytest

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.tools.bench import idle
from chainsocks.tools.bench.counters import Kind, What
from chainsocks.tools.bench.idle import Idle, open_idle
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Way
from tests.background import PATIENCE, Background, Script


@pytest.mark.parametrize("length", [0, 2])
@pytest.mark.parametrize("count", [1, 100])
def test_they_are_there(target: Target, hops: tuple[Hop, ...], length: int, count: int) -> None:
    echoed = target.counters.read(Kind.ECHO, What.RECEIVED)
    with open_idle(Way("way", hops[:length]), target, count) as sessions:
        assert sessions == Idle(count, count)
        assert target.open_connections == count
        assert target.counters.read(Kind.ECHO, What.RECEIVED) - echoed == count
    assert target.wait_until_quiet(PATIENCE)


def test_as_many_as_there_are_descriptors_for(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "free_descriptors", lambda: 7)
    with open_idle(Way("direct"), target, 50) as sessions:
        assert sessions == Idle(7, 50)
        assert target.open_connections == 7


def test_none_are_left_when_one_fails(target: Target, background: Background) -> None:
    script = Script(b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6))
    way = Way("rude", (Hop("rude", HopProtocol.SOCKS5, background.listen(script)),), Timeouts(hop=0.1))
    with pytest.raises(BenchError, match="a word did not come back"), open_idle(way, target, 2):
        pass
    assert script.left.wait(PATIENCE)
