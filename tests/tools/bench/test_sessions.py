"""Sessions, short and idle: each that is counted was opened, and carried its byte."""

from __future__ import annotations

import math

import pytest
import trio

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout, HopRefused
from chainsocks.tools.bench import sessions
from chainsocks.tools.bench.hops import RunningHop
from chainsocks.tools.bench.loop import Loop
from chainsocks.tools.bench.sessions import TRIAL, Idle, measure_idle, measure_sessions, open_idle
from chainsocks.tools.bench.target import Kind, Target, What
from chainsocks.tools.bench.way import BenchError, Route, Way
from tests.background import PATIENCE, Background, Script
from tests.tools.bench.rude import ANSWERS, Growth, way_through

SHORT = 0.1
REFUSAL = b"\x05\x01\x00\x01" + bytes(6)


@pytest.mark.measure
@pytest.mark.parametrize("length", [0, 1, 2])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_each_was_there(target: Target, hops: tuple[Hop, ...], length: int, concurrency: int) -> None:
    growth = Growth(target, Kind.ECHO)
    found = measure_sessions(Way("way", hops[:length]), target, concurrency=concurrency, seconds=SHORT)
    assert found.cost.seconds >= SHORT
    assert found.failed == 0
    assert target.wait_until_quiet(20)
    assert 0 < found.count <= growth.of(What.RECEIVED), "each byte was echoed"
    assert found.count <= growth.of(What.ACCEPTED)


def test_the_cost_of_watched_processes(target: Target, running_hops: tuple[RunningHop, ...]) -> None:
    way = Way("one", (running_hops[0].hop,))
    found = measure_sessions(way, target, concurrency=2, seconds=SHORT, pids=[running_hops[0].pid])
    assert found.cost.relay
    assert found.cost.relay > 0
    assert measure_sessions(way, target, concurrency=2, seconds=SHORT).cost.relay is None


@pytest.mark.parametrize(
    ("answers", "kind", "complaint"),
    [
        ((b"\x05\x00", REFUSAL), HopRefused, "general SOCKS server failure"),
        ((*ANSWERS, b""), BenchError, "rude: a session was closed"),
        ((*ANSWERS, b"y"), BenchError, "rude: what came back is not what was sent"),
        ((*ANSWERS, b"xx"), BenchError, "rude: what came back is not what was sent"),
    ],
)
def test_a_proxy_that_does_not_work(
    target: Target, background: Background, answers: tuple[bytes, ...], kind: type[Exception], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        measure_sessions(way_through(background.listen(Script(*answers))), target, concurrency=2, seconds=20)


def test_a_mute_proxy(target: Target, background: Background) -> None:
    hop = Hop("rude", HopProtocol.SOCKS5, background.listen(Script()))
    with pytest.raises(DialTimeout, match="method negotiation"):
        measure_sessions(Way("rude", (hop,), Timeouts(hop=0.2)), target, concurrency=2, seconds=20)


def test_a_proxy_that_loses_the_byte(target: Target, background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainsocks.tools.bench.way.Route.patience", 0.2)
    with pytest.raises(BenchError, match=r"rude: a word did not come back within 0\.2 s"):
        measure_sessions(way_through(background.listen(Script(*ANSWERS))), target, concurrency=2, seconds=20)


class Faulty:
    """A proxy that echoes by itself, and now and then refuses instead: after `well` sessions, each `every`th."""

    def __init__(self, well: int, every: int) -> None:
        self.well, self.every, self.sessions = well, every, 0

    async def __call__(self, stream: trio.SocketStream) -> None:
        self.sessions += 1
        fails = self.sessions > self.well and self.sessions % self.every == 0
        for answer in (ANSWERS[0], REFUSAL if fails else ANSWERS[1]):
            await stream.receive_some()
            await stream.send_all(answer)
        while data := await stream.receive_some():
            await stream.send_all(data)


def test_now_and_then_a_failure_is_counted(target: Target, background: Background) -> None:
    route = Route(way_through(background.listen(Faulty(well=110, every=110))), target.echo)
    with Loop() as loop:
        loop.start(sessions._repeat(route, loop, tally := sessions._Tally()))
        loop.run(math.inf, lambda: tally.failed > 0)
    assert tally.failed == 1
    assert 219 <= tally.count < 329  # the loop may see the next sessions together with the failure


def test_many_failures_are_an_error(target: Target, background: Background) -> None:
    with pytest.raises(HopRefused):
        measure_sessions(way_through(background.listen(Faulty(well=50, every=2))), target, concurrency=1, seconds=20)


@pytest.mark.parametrize("length", [0, 2])
@pytest.mark.parametrize("count", [1, 100])
def test_idle_sessions_are_open_and_have_carried_a_byte(
    target: Target, hops: tuple[Hop, ...], length: int, count: int
) -> None:
    growth = Growth(target, Kind.ECHO)
    with open_idle(Way("way", hops[:length]), target, count) as opened:
        assert opened == count
        assert target.open_connections == count
        assert growth.of(What.RECEIVED) == count
    assert target.wait_until_quiet(PATIENCE)


def test_no_more_idle_sessions_than_descriptors(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "free_descriptors", lambda: 7)
    with open_idle(Way("direct"), target, 50) as opened:
        assert opened == 7
        assert target.open_connections == 7


def test_no_idle_session_is_left_when_one_fails(
    target: Target, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainsocks.tools.bench.way.Route.patience", 0.1)
    script = Script(*ANSWERS)
    with (
        pytest.raises(BenchError, match="a word did not come back"),
        open_idle(way_through(background.listen(script)), target, 2),
    ):
        pass
    assert script.left.wait(PATIENCE)


def test_the_memory_of_idle_sessions_is_what_a_server_has_grown_by(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "resident_bytes", lambda pids: 5000 + 9 * target.open_connections)
    growth = Growth(target, Kind.ECHO)
    assert measure_idle(Way("direct"), target, count=10, pids=[1]) == Idle(count=10, wanted=10, bytes=90)
    assert growth.of(What.ACCEPTED) == TRIAL + 10
    monkeypatch.setattr(sessions, "free_descriptors", lambda: 7)
    assert measure_idle(Way("direct"), target, count=10, pids=[1]) == Idle(count=7, wanted=10, bytes=63)
