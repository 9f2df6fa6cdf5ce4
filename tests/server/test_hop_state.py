from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.chain.health import Health
from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config
from chainsocks.control.messages import Hop as MessageHop
from chainsocks.control.messages import HopState
from chainsocks.errors import Cause, DialError, DialTimeout, HopRefused, Place
from chainsocks.observe.counters import Counters
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.server.hop_state import all_hops, read_hops, trouble_of
from tests.control.fleets import HOP

PARIS, OSAKA = (Hop(name, HopProtocol.SOCKS5, Address("10.0.0.1", port)) for name, port in (("paris", 1), ("osaka", 2)))
CONFIG = Config(
    hops={"paris": PARIS},
    chains={"default": Chain(PARIS, OSAKA, name="default"), "more": Chain(Group(OSAKA, name="g"), name="more")},
)


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


def timeout(step: State) -> DialError:
    place = Place("paris", PARIS.address, step, 1, 2)
    return DialTimeout(place, "no complete answer", Cause.TIMED_OUT, elapsed=1, limit=1)


def refused() -> DialError:
    place = Place("paris", PARIS.address, State.REQUEST, 1, 2)
    return HopRefused(place, "refused", Cause.RESET, code=2, elapsed=1, limit=1)


def states(counters: Counters, health: Health | None = None) -> dict[str, HopState]:
    health = health or Health(trio.current_time)
    return {hop.name: hop.state for hop in read_hops(CONFIG, health, counters, {}, trio.current_time())}


async def test_all_hops_are_known_with_their_chains(clock: MockClock) -> None:
    assert [*all_hops(CONFIG)] == ["paris", "osaka"]
    hops = read_hops(CONFIG, Health(trio.current_time), Counters(), {"osaka": 3}, 0)
    assert [(hop.name, hop.chains, hop.sessions) for hop in hops] == [
        ("paris", ("default",), 0),
        ("osaka", ("default", "more"), 3),
    ]
    assert all(hop.state is HopState.UNKNOWN and trouble_of(hop) is None for hop in hops)


async def test_a_hop_without_rivals_fails_until_it_carries_out_a_request(clock: MockClock) -> None:
    counters = Counters()
    counters.steps["paris", State.REQUEST].add(0.5)
    assert states(counters)["paris"] is HopState.WELL
    counters.dials_failed([timeout(State.METHOD_NEGOTIATION)])
    await trio.sleep(5)
    counters.dials_failed([timeout(State.METHOD_NEGOTIATION)])
    [paris, _] = read_hops(CONFIG, Health(trio.current_time), counters, {}, trio.current_time())
    assert (paris.state, paris.since, paris.failures, paris.latency) == (HopState.FAILING, 5, 2, 0.5)
    assert trouble_of(paris) == f"failing: {timeout(State.METHOD_NEGOTIATION)}"
    counters.steps["paris", State.REQUEST].add(1.5)
    [paris, _] = read_hops(CONFIG, Health(trio.current_time), counters, {}, trio.current_time())
    assert (paris.state, paris.why, paris.latency) == (HopState.WELL, None, 1.0)


async def test_a_request_may_have_failed_for_its_destination(clock: MockClock) -> None:
    counters = Counters()
    counters.steps["paris", State.REQUEST].add(0.5)
    for expected in (HopState.WELL, HopState.WELL, HopState.FAILING):
        counters.dials_failed([timeout(State.REQUEST)])
        assert states(counters)["paris"] is expected


async def test_a_hop_that_refuses_works(clock: MockClock) -> None:
    counters = Counters()
    counters.dials_failed([refused()] * 5)
    assert states(counters)["paris"] is HopState.UNKNOWN


async def test_health_has_the_say_where_there_are_rivals(clock: MockClock) -> None:
    health = Health(trio.current_time)
    health.record_failure(Suspect(OSAKA, FailedAt.CONNECT), "no answer")
    assert states(Counters(), health)["osaka"] is HopState.BACKOFF
    health.rest(OSAKA)
    assert states(Counters(), health)["osaka"] is HopState.RESTED


@pytest.mark.parametrize(
    ("hop", "trouble"),
    [
        (HOP, "hop osaka is in backoff: no answer"),
        (replace(HOP, workers=3, workers_avoiding=1), "hop osaka is in backoff in 1 of 3 workers: no answer"),
        (replace(HOP, state=HopState.RESTED), "hop osaka is rested"),
        (replace(HOP, state=HopState.FAILING), "failing: no answer"),
        (replace(HOP, state=HopState.WELL), None),
    ],
)
def test_trouble_is_a_sentence(hop: MessageHop, trouble: str | None) -> None:
    assert trouble_of(hop) == trouble
