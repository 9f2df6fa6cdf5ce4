"""How long a relay may be silent, by rule, chain and ``[timeouts]``."""

from __future__ import annotations

import math

import pytest
import trio
from anyio import EndOfStream

from chainsocks.config.chains import Chain
from chainsocks.config.models import Config, Timeouts
from chainsocks.config.rules import Rule
from chainsocks.protocol.address import Address
from chainsocks.session.relay_limits import RelayLimits, relay_limits
from chainsocks.session.routing_decision import RoutingDecision
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryStream
from tests.session.serving import CONNECT5, GRANTED5, session

TIMEOUTS = Timeouts(idle=300, half_close=60)


def chain(idle: float | None = None, half_close: float | None = None) -> Chain:
    return Chain(idle=idle, half_close=half_close)


def rule(idle: float | None = None, half_close: float | None = None) -> Rule:
    return Rule(1, "direct", idle=idle, half_close=half_close)


@pytest.mark.parametrize(
    ("chain", "rule", "limits"),
    [
        (chain(), None, (300, 60)),
        (chain(), rule(), (300, 60)),
        (chain(7, 8), None, (7, 8)),
        (chain(7), rule(half_close=5), (7, 5)),
        (chain(7, 8), rule(9, 10), (9, 10)),
        (chain(half_close=8), rule(math.inf), (math.inf, 8)),
    ],
)
def test_the_rule_comes_before_the_chain(chain: Chain, rule: Rule | None, limits: tuple[float, float]) -> None:
    decision = RoutingDecision(Address("192.0.2.80", 80), chain, chain, rule=rule)
    assert relay_limits(decision, TIMEOUTS) == RelayLimits(*limits)


@pytest.mark.parametrize("hops", [0, 1])
@pytest.mark.parametrize("by_rule", [False, True])
async def test_an_idle_session_ends_when_its_chain_or_rule_says_so(
    hops: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, *, by_rule: bool
) -> None:
    way = Chain(*[make_hop(1)][:hops], name="way", idle=None if by_rule else 40)
    rules = (Rule(1, "way", idle=40 if by_rule else None),)
    async with session(caplog, Config(timeouts=TIMEOUTS, chains={"way": way}, rules=rules)) as client:
        add_hop(client.network, make_hop(1))
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
        await client.expect_end()
        assert 40 <= trio.current_time() <= 45
    assert 'outcome="idle for too long"' in client.line


async def test_a_half_closed_session_ends_when_its_chain_says_so(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def mute(stream: MemoryStream) -> None:
        try:
            await stream.receive()
        except EndOfStream:
            await trio.sleep_forever()

    config = Config(timeouts=TIMEOUTS, chains={"default": chain(half_close=20)})
    async with session(caplog, config, destination=Host(mute)) as client:
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
        await client.stream.send_eof()
        await client.expect_end()
        assert 20 <= trio.current_time() <= 23
    assert "half_close" not in client.line
