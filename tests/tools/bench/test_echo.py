"""The echo: percentiles, words that come back, and load beside it."""

from __future__ import annotations

import pytest

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout
from chainsocks.tools.bench.echo import Echo, measure_echo, percentile
from chainsocks.tools.bench.target import Kind, Target, What
from chainsocks.tools.bench.way import BenchError, Way
from tests.background import Background, Script
from tests.tools.bench.rude import ANSWERS, Growth, way_through

SHORT = 0.05


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (1, 50, 1),
        (1, 99, 1),
        (2, 50, 1),
        (3, 50, 2),
        (100, 50, 50),
        (100, 99, 99),
        (101, 99, 100),
        (1000, 99, 990),
        (1000, 99.9, 999),
        (10, 0, 1),
        (10, 100, 10),
    ],
)
def test_percentiles(count: int, percent: float, expected: int) -> None:
    """The values are 1, 2, 3 and so on: the first one that `percent` of them do not exceed."""
    assert percentile(range(1, count + 1), percent) == expected


def test_those_of_an_echo() -> None:
    echo = Echo(tuple(number / 1000 for number in range(1, 201)))
    assert (echo.p50, echo.p99) == (0.1, 0.198)


@pytest.mark.measure
@pytest.mark.parametrize("length", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 64])
def test_each_word_was_there(target: Target, hops: tuple[Hop, ...], length: int, size: int) -> None:
    growth = Growth(target, Kind.ECHO)
    echo = measure_echo(Way("way", hops[:length]), target, seconds=SHORT, size=size)
    echoed, rest = divmod(growth.of(What.RECEIVED), size)
    assert rest == 0
    assert 1 <= len(echo.latencies) < echoed
    assert list(echo.latencies) == sorted(echo.latencies)
    assert 0 < echo.latencies[0] <= echo.p50 <= echo.p99 <= echo.latencies[-1]


@pytest.mark.measure
@pytest.mark.parametrize("length", [0, 1])
def test_beside_bulk(target: Target, hops: tuple[Hop, ...], length: int) -> None:
    growth = Growth(target, Kind.SOURCE)
    echo = measure_echo(Way("way", hops[:length]), target, seconds=SHORT, beside=3)
    assert echo.latencies
    assert growth.of(What.ACCEPTED) == 3
    assert growth.of(What.SENT) > 1 << 20
    assert echo.beside > 0


def test_the_time_is_kept(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    """A latency is from the first byte out to the last byte back: here the clock moves by one at each look."""
    ticks = iter(range(10**9))
    monkeypatch.setattr("chainsocks.tools.bench.echo.time.perf_counter", lambda: next(ticks))
    echo = measure_echo(Way("direct"), target, seconds=20)
    assert set(echo.latencies) == {1}
    assert len(echo.latencies) == 11


@pytest.mark.parametrize(
    ("answers", "patience", "complaint"),
    [
        (ANSWERS, 0.2, "^rude: a word did not come back within 0.2 s"),
        ((*ANSWERS, b"xxxx"), 20, "^rude: what came back is not what was sent"),
        ((*ANSWERS, b"\x01"), 0.2, "^rude: a word did not come back"),
        ((*ANSWERS, b""), 20, "^rude: a session was closed|^rude: a session broke"),
    ],
)
def test_a_proxy_that_does_not_work(
    target: Target,
    background: Background,
    monkeypatch: pytest.MonkeyPatch,
    answers: tuple[bytes, ...],
    patience: float,
    complaint: str,
) -> None:
    monkeypatch.setattr("chainsocks.tools.bench.way.Route.patience", patience)
    way = way_through(background.listen(Script(*answers)))
    with pytest.raises(BenchError, match=complaint):
        measure_echo(way, target, seconds=20, size=4)


def test_a_mute_proxy(target: Target, background: Background) -> None:
    hop = Hop("rude", HopProtocol.SOCKS5, background.listen(Script()))
    with pytest.raises(DialTimeout, match="method negotiation"):
        measure_echo(Way("rude", (hop,), Timeouts(hop=0.2)), target, seconds=20)
