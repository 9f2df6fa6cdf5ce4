"""Which ways are walked through a chain with a choice, and what is known of each member then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Pick
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import UsernamePassword
from chainsocks.tools.probe.members import explore, has_a_way, members_of
from chainsocks.tools.probe.walk import Walk, walk
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop
from tests.memory import Host, MemoryNetwork
from tests.tools.probe.probing import say_nothing

DESTINATION = Address("example.org", 80)
LOGIN = UsernamePassword(b"bob", b"pw")
A, B, C, D, E = (Hop(name, HopProtocol.SOCKS5, Address(f"10.0.0.{ord(name)}", 1080), LOGIN) for name in "abcde")
REFUSAL = Trouble(CONNECT, Fault.REFUSAL)
GARBAGE = Trouble(State.METHOD_NEGOTIATION, Fault.GARBAGE)
REFUSED = Trouble(State.REQUEST, Fault.REFUSAL)
MUTE = Trouble(State.REQUEST, Fault.MUTE)


def group(*hops: Hop | Group, name: str = "group", pick: Pick = Pick.FAILOVER) -> Group:
    return Group(*hops, name=name, pick=pick)


@dataclass(frozen=True)
class Case:
    """A chain, what is wrong with its hops, the ways that are walked in order, and what is known then."""

    chain: Chain
    walked: str
    known: str
    """``place name standing``, as it comes."""
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    shown: str = ""
    """The way that is shown, if it is not the first."""
    fine: bool = True


ONE, OTHER = group(A, B, name="one"), group(C, D, name="other")

CASES = {
    "all work": Case(Chain(A, group(B, C)), "ab ac", "2b works, 2c works"),
    "the first is dead": Case(Chain(A, group(B, C)), "ab ac", "2b failed, 2c works", {"b": REFUSAL}, shown="ac"),
    "the last is dead": Case(Chain(A, group(B, C)), "ab ac", "2b works, 2c failed", {"c": GARBAGE}),
    "whatever its pick is": Case(Chain(group(A, B, C, pick=Pick.STICKY)), "a b c", "1a works, 1b works, 1c works"),
    "in front": Case(Chain(ONE, C), "ac bc", "1a failed, 1b works", {"a": REFUSAL}, shown="bc"),
    "does not get on": Case(Chain(ONE, C), "ac bc", "1a failed, 1b works", {"a": REFUSED}, shown="bc"),
    "does not answer": Case(Chain(ONE, C), "ac bc", "1a failed, 1b works", {"a": MUTE}, shown="bc"),
    "all are dead": Case(
        Chain(A, group(B, C)), "ab ac", "2b failed, 2c failed", {"b": REFUSAL, "c": REFUSAL}, fine=False
    ),
    "what is before is dead": Case(
        Chain(A, group(B, C)), "ab", "2b not reached, 2c not reached", {"a": REFUSAL}, fine=False
    ),
    "what is behind is dead": Case(Chain(ONE, C), "ac bc", "1a stuck, 1b stuck", {"c": REFUSAL}, fine=False),
    "what is behind is garbage": Case(Chain(ONE, C), "ac bc", "1a works, 1b works", {"c": GARBAGE}, fine=False),
    "two groups": Case(Chain(ONE, OTHER), "ac bc ad", "1a works, 1b works, 2c works, 2d works"),
    "two groups, one dead in each": Case(
        Chain(ONE, OTHER),
        "ac bc bd",
        "1a failed, 1b works, 2c failed, 2d works",
        {"a": REFUSAL, "c": REFUSAL},
        shown="bd",
    ),
    "a member that was passed over in vain is known in the end": Case(
        # Of c and a, neither can be told to be guilty at first.
        Chain(ONE, OTHER),
        "ac ad bd bc",
        "1a failed, 1b works, 2c works, 2d works",
        {"a": REFUSED},
        shown="bd",
    ),
    "a group in a group": Case(
        Chain(group(A, group(B, C, name="inner"), name="outer")), "a b c", "1a works, 1b works, 1c works"
    ),
    "one group at two places": Case(Chain(ONE, ONE), "ab ba", "1a works, 1b works, 2a works, 2b works"),
    "a hop that is needed elsewhere": Case(Chain(A, group(A, B)), "ab", "2a not used, 2b works"),
    "a hop that is wanted elsewhere": Case(
        Chain(ONE, group(A, C, name="third")), "ac ba", "1a works, 1b works, 2a works, 2c works"
    ),
    "a dead hop holds a place for want of another": Case(
        Chain(ONE, group(A, C, name="third")),
        "ac ba",
        "1a works, 1b failed, 2a not reached, 2c works",
        {"b": REFUSAL},
    ),
    "the destination": Case(Chain(A, group(B, C)), "ab ac", "2b failed, 2c works", {"b": REFUSED}, shown="ac"),
    "may be left out": Case(
        Chain(A, B, C, skip_dead=True), "abc ac", "1a works, 2b failed, 3c works", {"b": REFUSAL}, shown="ac"
    ),
    "all but one are left out": Case(
        Chain(A, B, skip_dead=True), "ab b", "1a failed, 2b works", {"a": REFUSAL}, shown="b"
    ),
    "no hop is left": Case(
        Chain(A, B, skip_dead=True), "ab b", "1a failed, 2b failed", {"a": REFUSAL, "b": REFUSAL}, fine=False
    ),
    "a length": Case(Chain(A, B, C, skip_dead=True, length=2), "ab ac", "1a works, 2b works, 3c works"),
    "a length of one": Case(Chain(A, B, C, skip_dead=True, length=1), "a b c", "1a works, 2b works, 3c works"),
    "a group that may be left out": Case(
        Chain(A, group(B, C), D, skip_dead=True),
        "abd acd ad",
        "1a works, 2b failed, 2c failed, 3d works",
        {"b": REFUSAL, "c": REFUSAL},
        shown="ad",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_each_member_is_known(case: Case, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, {DESTINATION: Host(say_nothing)})
    for hop in (A, B, C, D, E):
        add_hop(network, hop, case.troubles.get(hop.name))
    ways = []

    async def walk_one(route: Route) -> Walk:
        ways.append("".join(hop.name for hop in route.hops))
        return await walk(route, DESTINATION, dialer_of(network, Timeouts()))

    shown, members = await explore(case.chain, walk_one)
    assert " ".join(ways) == case.walked
    assert ", ".join(f"{one.place}{one.hop.name} {one.standing}" for one in members) == case.known
    assert "".join(hop.name for hop in shown.route.hops) == (case.shown or ways[0])
    assert (shown.error is None) == case.fine
    for member in members:
        if member.report:
            assert member.report.hop == member.hop


async def test_without_a_choice_there_is_one_walk(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    add_hop(network, A)
    ways = []

    async def walk_one(route: Route) -> Walk:
        ways.append(route)
        return await walk(route, None, dialer_of(network, Timeouts()))

    walked, members = await explore(Chain(A), walk_one)
    assert members == ()
    assert ways == [walked.route] == [Chain(A).route]


async def test_each_walk_has_all_the_time_of_a_dial(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A request would give up after four seconds; of the last member nothing would be known."""
    network = MemoryNetwork(nursery)
    for hop, trouble in ((A, MUTE), (B, MUTE), (C, None)):
        add_hop(network, hop, Trouble(State.METHOD_NEGOTIATION, Fault.MUTE) if trouble else None)

    async def walk_one(route: Route) -> Walk:
        return await walk(route, None, dialer_of(network, Timeouts(hop=3)))

    _, members = await explore(Chain(group(A, B, C), dial=4), walk_one)
    assert [one.standing.value for one in members] == ["failed", "failed", "works"]
    assert trio.current_time() == 6, "no member is walked to twice"


async def test_no_more_dead_hops_are_in_the_way_than_need_to_be(nursery: trio.Nursery) -> None:
    """Where b is taken away from the second place, only a is left for that; at the first place, d works."""
    network = MemoryNetwork(nursery)
    for hop in (A, B, C, D, E):
        add_hop(network, hop, REFUSAL if hop in (A, C) else None)
    first, second, third = group(C, D, name="first"), group(A, B, name="second"), group(B, E, name="third")

    async def walk_one(route: Route) -> Walk:
        return await walk(route, None, dialer_of(network, Timeouts()))

    _, members = await explore(Chain(first, second, third), walk_one)
    assert [one.standing.value for one in members] == [
        *("failed", "works"),
        *("failed", "works"),
        *("not reached", "works"),
    ]
    [report] = [one.report for one in members if (one.place, one.hop) == (3, B)]
    assert report
    assert report.walk.route.hops == (D, A, B)


def test_a_chain_with_more_places_than_hops() -> None:
    crowded = Chain(group(A, name="one"), group(A, name="two"), OTHER)
    assert not has_a_way(crowded)
    assert has_a_way(Chain(A, group(A, B)))
    assert has_a_way(Chain(A, skip_dead=True))
    assert has_a_way(Chain())


def test_members_are_listed_by_their_places() -> None:
    chain = Chain(A, group(B, group(B, C, name="inner"), name="outer"))
    assert [(one.place, one.hop, one.group) for one in members_of(chain)] == [(2, B, "outer"), (2, C, "outer")]
