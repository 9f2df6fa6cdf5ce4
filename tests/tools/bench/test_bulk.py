"""Bulk: what is counted has arrived, and what does not arrive is said."""

from __future__ import annotations

import os

import pytest
import trio

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout
from chainsocks.protocol.messages import UsernamePassword
from chainsocks.tools.bench.bulk import Bulk, Direction, far_end, measure_bulk, open_flood
from chainsocks.tools.bench.hops import RunningHop
from chainsocks.tools.bench.target import Kind, Target, What
from chainsocks.tools.bench.way import BenchError, Way
from tests.background import PATIENCE, Background, Script, wait_until
from tests.tools.bench.rude import ANSWERS, Growth, way_through

DIRECTIONS: tuple[Direction, ...] = ("up", "down", "both")
SHORT = 0.1


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are opened without haste, and then have 0.2 s for a byte."""
    monkeypatch.setattr("chainsocks.tools.bench.way.Route.patience", 0.2)


@pytest.fixture(params=[0, 1, 2], ids=["direct", "1-hop", "2-hops"])
def way(request: pytest.FixtureRequest, hops: tuple[Hop, ...]) -> Way:
    return Way("way", hops[: request.param])


@pytest.mark.measure
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("streams", [1, 3])
def test_what_is_counted_was_there(target: Target, way: Way, streams: int, direction: Direction) -> None:
    seen = Growth(target, *Kind)
    bulk = measure_bulk(way, target, streams=streams, direction=direction, seconds=SHORT)
    assert bulk.cost.seconds >= SHORT
    assert (bulk.up > 0, bulk.down > 0) == (direction != "down", direction != "up")
    assert bulk.bytes == bulk.up + bulk.down
    assert seen.of(What.ACCEPTED) == streams
    assert bulk.up <= seen.of(What.RECEIVED)
    assert bulk.down <= seen.of(What.SENT)
    assert target.wait_until_quiet(20)


def test_a_slow_way_is_counted_to_the_byte(target: Target, background: Background) -> None:
    """Though so few bytes are no event."""

    async def trickle(stream: trio.SocketStream) -> None:
        for answer in ANSWERS:
            await stream.receive_some()
            await stream.send_all(answer)
        while True:
            await stream.send_all(b"x" * 10)
            await trio.sleep(0.02)

    bulk = measure_bulk(way_through(background.listen(trickle)), target, streams=1, direction="down", seconds=0.2)
    assert bulk.down > 0
    assert bulk.down % 10 == 0


@pytest.mark.usefixtures("hasty")
def test_what_a_proxy_swallows_has_not_arrived(target: Target, background: Background) -> None:
    """However much of it was sent."""
    script = Script(*ANSWERS)
    with pytest.raises(BenchError, match=r"^rude: 2 open stream\(s\), and not a byte arrived within \d+\.\d\d s$"):
        measure_bulk(way_through(background.listen(script)), target, streams=2, direction="up", seconds=SHORT)
    assert sum(map(len, script.heard)) > 1 << 20


@pytest.mark.usefixtures("hasty")
def test_a_proxy_that_carries_nothing_down(target: Target, background: Background) -> None:
    way = way_through(background.listen(Script(*ANSWERS)))
    with pytest.raises(BenchError, match="not a byte arrived"):
        measure_bulk(way, target, streams=1, direction="down", seconds=SHORT)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_proxy_that_breaks_off(target: Target, background: Background, direction: Direction) -> None:
    async def break_off(stream: trio.SocketStream) -> None:
        for answer in ANSWERS:
            await stream.receive_some()
            await stream.send_all(answer)
        await trio.sleep(0.02)

    way = way_through(background.listen(break_off))
    with pytest.raises(BenchError, match=r"^rude: a stream (was closed from the other side|broke: )"):
        measure_bulk(way, target, streams=1, direction=direction, seconds=20)


def test_a_proxy_that_is_mute(target: Target, background: Background) -> None:
    hop = Hop("rude", HopProtocol.SOCKS5, background.listen(Script()))
    with pytest.raises(DialTimeout):
        measure_bulk(Way("rude", (hop,), Timeouts(hop=0.2)), target, streams=1, direction="up", seconds=20)


@pytest.fixture
def watched(target: Target, running_hops: tuple[RunningHop, ...]) -> Bulk:
    way = Way("one", (running_hops[0].hop,))
    return measure_bulk(way, target, streams=1, direction="down", seconds=SHORT, pids=[running_hops[0].pid])


def test_the_cost_of_watched_processes(watched: Bulk) -> None:
    assert watched.cost.relay
    assert watched.cost.relay > 0


def test_without_watched_processes_the_relay_has_no_cost(target: Target) -> None:
    bulk = measure_bulk(Way("direct"), target, streams=1, direction="up", seconds=SHORT)
    assert bulk.cost.relay is None
    assert bulk.cost.load > 0


def test_no_descriptor_is_left(target: Target, hops: tuple[Hop, ...]) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    measure_bulk(Way("one", hops[:1]), target, streams=3, direction="both", seconds=SHORT)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_the_addresses_of_the_other_half(target: Target) -> None:
    assert [far_end(target, direction) for direction in DIRECTIONS] == [target.sink, target.source, target.both]


def test_it_flows_as_long_as_the_block_lasts(target: Target, hops: tuple[Hop, ...]) -> None:
    way = Way("one", (Hop("one", HopProtocol.SOCKS5, hops[0].address, UsernamePassword(b"a", b"\n\xff")),))

    with open_flood(way, target, streams=2, direction="up") as child:
        growth = Growth(target, Kind.SINK)
        wait_until(lambda: growth.of(What.RECEIVED) >= 1 << 20)
        wait_until(lambda: target.open_connections == 2)  # one may flow before the other was accepted
    assert child.process.returncode == 0, "it was not killed"
    assert target.wait_until_quiet(PATIENCE)


def test_one_that_cannot_be_opened(target: Target, background: Background) -> None:
    hop = Hop("rude", HopProtocol.SOCKS5, background.listen(Script()))
    way = Way("rude", (hop,), Timeouts(hop=0.2))
    complaint = r"^hop rude \(1 of 1\) at .*, method negotiation: no complete answer"
    with pytest.raises(BenchError, match=complaint), open_flood(way, target, streams=1, direction="up"):
        pass


def test_one_that_breaks_in_the_middle(target: Target, background: Background) -> None:
    """The measurement beside it was not what it is taken for."""

    async def break_off(stream: trio.SocketStream) -> None:
        for answer in ANSWERS:
            await stream.receive_some()
            await stream.send_all(answer)
        await stream.receive_some()

    way = way_through(background.listen(break_off))
    with (
        pytest.raises(BenchError, match=r"^rude: a stream broke beside the measurement$"),
        open_flood(way, target, streams=1, direction="up") as child,
    ):
        child.process.wait(PATIENCE)
