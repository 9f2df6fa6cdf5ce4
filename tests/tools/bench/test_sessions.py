"""Sessions per second: each that is counted has been there, and carried its byte."""

from __future__ import annotations

import pytest
import trio

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout, HopRefused
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.counters import Kind, What
from chainsocks.tools.bench.hops import RunningHop
from chainsocks.tools.bench.sessions import measure_sessions
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Way
from tests.background import Background, Script

SHORT = 0.1
ANSWERS = (b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6))
REFUSAL = b"\x05\x01\x00\x01" + bytes(6)


def way_through(address: Address) -> Way:
    return Way("rude", (Hop("rude", HopProtocol.SOCKS5, address),), Timeouts(hop=0.2))


@pytest.mark.parametrize("length", [0, 1, 2])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_each_was_there(target: Target, hops: tuple[Hop, ...], length: int, concurrency: int) -> None:
    def read(what: What) -> int:
        return target.counters.read(Kind.ECHO, what)

    accepted, echoed = read(What.ACCEPTED), read(What.RECEIVED)
    sessions = measure_sessions(Way("way", hops[:length]), target, concurrency=concurrency, seconds=SHORT)
    assert sessions.seconds >= SHORT
    assert sessions.failed == 0
    assert target.wait_until_quiet(20)
    assert 0 < sessions.count <= read(What.RECEIVED) - echoed, "each byte was echoed"
    assert sessions.count <= read(What.ACCEPTED) - accepted


def test_the_account_of_who_is_watched(target: Target, running_hops: tuple[RunningHop, ...]) -> None:
    way = Way("one", (running_hops[0].hop,))
    sessions = measure_sessions(way, target, concurrency=2, seconds=SHORT, pids=[running_hops[0].pid])
    assert sessions.cpu
    assert 0 < sessions.cpu < 10 * sessions.seconds
    assert measure_sessions(way, target, concurrency=2, seconds=SHORT).cpu is None


@pytest.mark.parametrize(
    ("answers", "kind", "complaint"),
    [
        ((), DialTimeout, "method negotiation"),
        ((b"\x05\x00", REFUSAL), HopRefused, "general SOCKS server failure"),
        (ANSWERS, BenchError, "rude: a word did not come back within 0.2 s"),
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


def test_now_and_then_a_failure_is_told_of(target: Target, background: Background) -> None:
    way = way_through(background.listen(Faulty(well=110, every=110)))
    sessions = measure_sessions(way, target, concurrency=1, seconds=1)
    assert sessions.count >= 100 * sessions.failed > 0


def test_many_failures_are_an_error(target: Target, background: Background) -> None:
    with pytest.raises(HopRefused):
        measure_sessions(way_through(background.listen(Faulty(well=50, every=2))), target, concurrency=1, seconds=20)
