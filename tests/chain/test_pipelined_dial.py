"""Groups of pipelined hops, on the mock clock: the attempts and backoffs where a hop loses pipelined messages.

A hop that loses it looks like one that is silent, or like the one before a silent one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import trio
from anyio import aclose_forcefully
from trio.testing import MockClock

from chainsocks.chain.health import LOST_IN_A_ROW
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.errors import DialError, DialTimeout
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from tests.chain.parties import TIMEOUTS, Party, member, party
from tests.dialing import resolve
from tests.hops import Fault, Trouble

__all__ = ["party"]

OFF, HOP, CHAIN = Pipeline
HOPS = {name: member(name, number) for number, name in enumerate("abcdef", 1)}
LOSES_OWN = Trouble(State.METHOD_NEGOTIATION, Fault.LOSS)
LOSES_REQUEST = Trouble(State.SUB_NEGOTIATION, Fault.LOSS)
LOSES_BEHIND = Trouble(State.REQUEST, Fault.LOSS)
MUTE = Trouble(State.METHOD_NEGOTIATION, Fault.MUTE)
GARBAGE = Trouble(State.METHOD_NEGOTIATION, Fault.GARBAGE)
NO_LOGIN = Trouble(State.SUB_NEGOTIATION, Fault.REFUSAL)
STUCK = Trouble(State.REQUEST, Fault.MUTE)


def group(names: str) -> Group | Hop:
    """A single letter is a hop, several are a group of them."""
    return HOPS[names] if len(names) == 1 else Group(*(HOPS[name] for name in names), name=names)


def chain_of(places: str, pipeline: Pipeline = CHAIN, hedge: float | None = None) -> Chain:
    return Chain(*map(group, places.split()), pipeline=pipeline, hedge=hedge)


@dataclass(frozen=True)
class Scenario:
    """Places, as in "ab c": a group of a and b, then c; and the trouble of each hop."""

    places: str
    troubles: dict[str, Trouble]
    tried: str
    """The routes, in order, the last of which came through."""
    seconds: float
    in_backoff: str
    pipeline: Pipeline = CHAIN


SCENARIOS = {
    "all is well": Scenario("ab cd", {}, "ac", 0, ""),
    "it loses its own messages": Scenario("ab", {"a": LOSES_OWN}, "a b", 1.5, "a", HOP),
    "it loses its own request": Scenario("ab", {"a": LOSES_REQUEST}, "a b", 1.5, "", HOP),
    "it does that behind another": Scenario("a bc", {"b": LOSES_OWN}, "ab ac", 1.5, "b"),
    "it does that before another": Scenario("ab c", {"a": LOSES_OWN}, "ac bc", 1.5, "a"),
    "it loses what comes behind, and there is no other exit": Scenario("ab c", {"a": LOSES_BEHIND}, "ac bc", 1.5, "a"),
    "it loses that, and there is one": Scenario("ab cd", {"a": LOSES_BEHIND}, "ac ad bd", 3, "a"),
    "it loses that, and there are many": Scenario("ab cdef", {"a": LOSES_BEHIND}, "ac ad bd", 3, "a"),
    "it loses that in the middle": Scenario("a bc def", {"b": LOSES_BEHIND}, "abd abe ace", 3, "b"),
    "two lose that": Scenario("abc de", {"a": LOSES_BEHIND, "b": LOSES_BEHIND}, "ad ae be ce", 4.5, "ab"),
    "an exit is mute": Scenario("ab cd", {"c": MUTE}, "ac ad", 1.5, "c"),
    "an exit is mute, and there are many": Scenario("ab cdef", {"c": MUTE}, "ac ad", 1.5, "c"),
    "an exit behind a hop without stand-in is mute": Scenario("a bc", {"b": MUTE}, "ab ac", 1.5, "b"),
    "an exit talks nonsense": Scenario("ab cd", {"c": GARBAGE}, "ac ad", 0, "c"),
    "an exit refuses our login": Scenario("ab cd", {"c": NO_LOGIN}, "ac ad", 0, "c"),
    "the first of them refuses our login": Scenario("ab cd", {"a": NO_LOGIN}, "ac bc", 0, "a"),
    "the first of them is stuck": Scenario("ab cd", {"a": STUCK}, "ac ad bd", 3, "a"),
    "nothing is lost where nothing is sent ahead": Scenario("ab cd", {"a": LOSES_BEHIND}, "ac", 0, "", HOP),
    "nor then": Scenario("ab cd", {"a": LOSES_OWN, "c": LOSES_OWN}, "ac", 0, "", OFF),
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_the_right_hop_is_passed_over(scenario: Scenario, party: Party, autojump_clock: MockClock) -> None:
    for name, hop in HOPS.items():
        party.add(hop, scenario.troubles.get(name))
    began = trio.current_time()
    upstream = await party.dial(chain_of(scenario.places, scenario.pipeline))
    assert trio.current_time() - began == scenario.seconds
    routes = scenario.tried.split()
    assert [name for name, _ in party.tried(*HOPS.values())] == connects(routes, scenario)
    assert party.in_backoff(*HOPS.values()) == scenario.in_backoff
    assert len(party.network.left_open) == 1
    await upstream.stream.send(b"hello")
    await trio.testing.wait_all_tasks_blocked()
    assert [data for data in party.arrived if data] == [b"hello"]
    await aclose_forcefully(upstream.stream)


def connects(routes: list[str], scenario: Scenario) -> list[str]:
    """The connections on these routes: to each hop, up to the one that does not ask for the next."""
    silent = {name for name, trouble in scenario.troubles.items() if trouble in (NO_LOGIN, STUCK, LOSES_OWN)}
    reached: list[str] = []
    for route in routes:
        for name in route:
            reached.append(name)
            if name in silent and scenario.pipeline is not OFF:
                break
    return reached


async def test_a_hop_that_has_kept_things_before_is_not_suspected(party: Party, autojump_clock: MockClock) -> None:
    """Two silent exits would otherwise speak against the entry that they have in common."""
    for hop in HOPS.values():
        party.add(hop)
    chain = chain_of("ab cdef")
    await aclose_forcefully((await party.dial(chain)).stream)
    party.add(HOPS["c"], MUTE)
    party.add(HOPS["d"], MUTE)
    party.network.connects.clear()
    await aclose_forcefully((await party.dial(chain)).stream)
    assert "".join(name for name, _ in party.tried(*HOPS.values())) == "acadae"
    assert party.in_backoff(*HOPS.values()) == "cd"


async def test_two_silent_exits_speak_against_an_entry_not_known_to_support_pipelining(
    party: Party, autojump_clock: MockClock
) -> None:
    """It is the likelier explanation, and costs one backoff."""
    for name, hop in HOPS.items():
        party.add(hop, MUTE if name in "cd" else None)
    await aclose_forcefully((await party.dial(chain_of("ab cdef"))).stream)
    assert "".join(name for name, _ in party.tried(*HOPS.values())) == "acadbdbe"


@pytest.mark.parametrize(("trouble", "places"), [(LOSES_BEHIND, "ab c"), (LOSES_OWN, "ab")])
async def test_a_greeting_in_order_does_not_end_the_rest_of_a_hop_that_loses(
    trouble: Trouble, places: str, party: Party, autojump_clock: MockClock
) -> None:
    for name, hop in HOPS.items():
        party.add(hop, trouble if name == "a" else None)
    await aclose_forcefully((await party.dial(chain_of(places))).stream)
    party.choices.health.record_greeting(HOPS["a"])
    assert party.in_backoff(*HOPS.values()) == "a"


async def test_no_hop_is_blamed_where_no_other_route_works(party: Party, autojump_clock: MockClock) -> None:
    party.add(HOPS["a"], LOSES_BEHIND)
    party.add(HOPS["c"])
    with pytest.raises(DialTimeout):
        await party.dial(Chain(HOPS["a"], Group(HOPS["c"]), pipeline=CHAIN))
    assert party.in_backoff(*HOPS.values()) == ""


async def test_a_hop_suspected_twice_is_blamed_also_where_no_other_route_works(
    party: Party, autojump_clock: MockClock
) -> None:
    for name, trouble in {"a": LOSES_BEHIND, "b": MUTE, "c": None, "d": None}.items():
        party.add(HOPS[name], trouble)
    with pytest.raises(DialTimeout):
        await party.dial(chain_of("ab cd"))
    assert party.in_backoff(*HOPS.values()) == "ab"


async def test_members_may_be_pipelined_in_their_own_ways(party: Party, autojump_clock: MockClock) -> None:
    """The hop at a place decides what is pipelined: b loses as much as a, and is asked in order."""
    in_order = replace(HOPS["b"], pipeline=OFF)
    party.add(HOPS["a"], LOSES_BEHIND)
    party.add(in_order, LOSES_BEHIND)
    party.add(HOPS["c"])
    began = trio.current_time()
    chain = Chain(Group(HOPS["a"], in_order), HOPS["c"], pipeline=CHAIN)
    await aclose_forcefully((await party.dial(chain)).stream)
    assert trio.current_time() - began == TIMEOUTS.hop
    assert not party.choices.health.supports_pipelining(in_order), "nothing was sent behind its request"


async def test_a_hedge_that_overtakes_speaks_against_the_hop_that_loses(
    party: Party, autojump_clock: MockClock
) -> None:
    """Not against the one that was never asked, though that is where the walk had come to."""
    for name, hop in HOPS.items():
        party.add(hop, LOSES_BEHIND if name == "a" else None)
    chain = chain_of("ab c", hedge=0.5)
    for number in range(LOST_IN_A_ROW):
        assert party.in_backoff(*HOPS.values()) == "", number
        await aclose_forcefully((await party.dial(chain)).stream)
    assert party.in_backoff(*HOPS.values()) == "a"
    assert party.network.left_open == []


async def test_the_error_names_the_silent_hop_of_each_try(party: Party, autojump_clock: MockClock) -> None:
    party.add(HOPS["a"], LOSES_BEHIND)
    party.add(HOPS["b"], LOSES_BEHIND)
    party.add(HOPS["c"])
    with pytest.raises(DialError) as caught:
        await party.dial(chain_of("ab c"))
    assert [error.place.who for error in (caught.value, *caught.value.earlier)] == ["c (2 of 2)", "c (2 of 2)"]


async def test_an_answer_without_any_hop_says_nothing_of_them(party: Party, autojump_clock: MockClock) -> None:
    """An address needs no lookup: no backoff ends, and no hop has shown pipelining support."""
    party.add(HOPS["a"], MUTE)
    party.add(HOPS["b"], MUTE)
    party.add(HOPS["c"])
    chain = chain_of("ab c")
    with pytest.raises(DialTimeout):
        await party.dial(chain)
    assert party.in_backoff(*HOPS.values()) == "ab"
    subject = Address("192.0.2.80", 0)
    assert await resolve(chain, subject, TIMEOUTS, party.network, choices=party.choices) == subject
    assert party.in_backoff(*HOPS.values()) == "ab"
    assert not party.choices.health.supports_pipelining(HOPS["a"])
