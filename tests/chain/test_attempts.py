"""Failover and hedging within one request, on the mock clock: who is tried when, who wins, and what is left open."""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, replace

import pytest
import trio
from anyio import aclose_forcefully
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.chain.health import LOST_IN_A_ROW
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pick, Resolve
from chainsocks.config.groups import Group
from chainsocks.errors import ChainsocksError, DialError, DialTimeout, HopRefused, RequestRefused
from chainsocks.protocol.handshake import State
from chainsocks.routing.pick import Picks
from tests.chain.parties import DESTINATION, SEED, TIMEOUTS, Party, member, party
from tests.dialing import associate
from tests.hops import Fault, Trouble, make_hop
from tests.memory import Host, MemoryStream

__all__ = ["party"]

A, B, C, D = (member(name, number) for number, name in enumerate("abcd", 1))
PARIS = make_hop(1)


@dataclass(frozen=True)
class Member:
    """How a hop behaves: a trouble or none, and how long a connect to it takes."""

    trouble: Trouble | None = None
    delay: float = 0


def fine(delay: float = 0) -> Member:
    return Member(None, delay)


def bad(step: str, fault: Fault, delay: float = 0) -> Member:
    return Member(Trouble(step, fault), delay)


REFUSES = bad(CONNECT, Fault.REFUSAL)
DEAF = bad(CONNECT, Fault.MUTE)
MUTE = bad(State.METHOD_NEGOTIATION, Fault.MUTE)
NO_LOGIN = bad(State.SUB_NEGOTIATION, Fault.REFUSAL)
GARBAGE = bad(State.METHOD_NEGOTIATION, Fault.GARBAGE)
STUCK = bad(State.REQUEST, Fault.MUTE)
TRUE_REFUSAL = bad(State.REQUEST, Fault.REFUSAL)


@dataclass(frozen=True)
class Scenario:
    """Members in the order in which they are tried, and what comes of them: who wins, when, and who was tried when."""

    members: tuple[Member, ...]
    winner: int | None
    seconds: float
    tried: tuple[float, ...]
    in_backoff: tuple[int, ...] = ()
    hedge: float | None = None
    retry_refused: bool = False
    error: type[ChainsocksError] = DialError


SCENARIOS = {
    "the first is fine": Scenario((fine(1), fine()), 0, 1, (0,)),
    "refused, then fine": Scenario((REFUSES, fine(0.25)), 1, 0.25, (0, 0), in_backoff=(0,)),
    "deaf, then fine": Scenario((DEAF, fine(0.25)), 1, 4.25, (0, 4), in_backoff=(0,)),
    "mute, then fine": Scenario((MUTE, fine(0.25)), 1, 1.75, (0, 1.5), in_backoff=(0,)),
    "no login, then fine": Scenario((NO_LOGIN, fine(0.25)), 1, 0.25, (0, 0), in_backoff=(0,)),
    "garbage, then fine": Scenario((GARBAGE, fine(0.25)), 1, 0.25, (0, 0), in_backoff=(0,)),
    "stuck at the request, then fine": Scenario((STUCK, fine()), 1, 1.5, (0, 1.5)),
    "three troubles, then fine": Scenario(
        (REFUSES, MUTE, GARBAGE, fine()), 3, 1.5, (0, 0, 1.5, 1.5), in_backoff=(0, 1, 2)
    ),
    "all refuse": Scenario((REFUSES, REFUSES, REFUSES), None, 0, (0, 0, 0), in_backoff=(0, 1, 2)),
    "all are stuck, as the destination may be": Scenario((STUCK, STUCK), None, 3, (0, 1.5), error=DialTimeout),
    "the time for all is over": Scenario((DEAF, DEAF, DEAF, fine()), None, 9, (0, 4, 8), (0, 1), error=DialTimeout),
    "the destination refuses": Scenario((TRUE_REFUSAL, fine()), None, 0, (0,), error=HopRefused),
    "the destination refuses, and is not believed": Scenario((TRUE_REFUSAL, fine()), 1, 0, (0, 0), retry_refused=True),
    # With a hedge.
    "in time": Scenario((fine(0.25), fine()), 0, 0.25, (0,), hedge=0.5),
    "late, and another is quick": Scenario((fine(4), fine(0.25)), 1, 0.75, (0, 0.5), hedge=0.5),
    "late, and still the first": Scenario((fine(1), fine(0.75)), 0, 1, (0, 0.5), hedge=0.5),
    "no more than two at a time": Scenario((DEAF, DEAF, fine()), 2, 4, (0, 0.5, 4), (0,), hedge=0.5),
    "mute, hedged": Scenario((MUTE, fine(0.25)), 1, 0.75, (0, 0.5), hedge=0.5),
    "refused at once, then hedged": Scenario((REFUSES, fine(4), fine()), 2, 0.5, (0, 0, 0.5), (0,), hedge=0.5),
    "the hedge is refused": Scenario((fine(2), REFUSES, fine(4)), 0, 2, (0, 0.5, 0.5), (1,), hedge=0.5),
    "the hedge hears the truth": Scenario((DEAF, TRUE_REFUSAL), None, 0.5, (0, 0.5), hedge=0.5, error=HopRefused),
    "all refuse, hedged": Scenario((REFUSES, REFUSES), None, 0, (0, 0), (0, 1), hedge=0.5),
    "deaf, and nobody else": Scenario((DEAF,), None, 4, (0,), (0,), hedge=0.5, error=DialTimeout),
    "the time for all is over, hedged": Scenario(
        (DEAF,) * 6 + (fine(),), None, 9, (0, 0.5, 4, 4.5, 8, 8.5), (0, 1, 2, 3), 0.5, error=DialTimeout
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("pick", Pick)
async def test_a_request_finds_its_way(pick: Pick, scenario: Scenario, party: Party, autojump_clock: MockClock) -> None:
    hops = [member(f"hop{number}", number) for number in range(1, len(scenario.members) + 1)]
    group = Group(*hops, pick=pick, hedge=scenario.hedge, retry_refused=scenario.retry_refused)
    # Whom this pick would take first behaves like the scenario's first member, and so on.
    ranked = Picks(random.Random(SEED)).order(group, DESTINATION.packed, party.choices.health)
    for hop, behaviour in zip(ranked, scenario.members, strict=True):
        party.add(hop, behaviour.trouble, behaviour.delay)

    began, upstream = trio.current_time(), None
    if scenario.winner is None:
        with pytest.raises(scenario.error):
            await party.dial(Chain(group))
    else:
        upstream = await party.dial(Chain(group))
    assert trio.current_time() - began == pytest.approx(scenario.seconds)
    assert party.tried(*ranked) == [(hop.name, when) for hop, when in zip(ranked, scenario.tried, strict=False)]
    assert party.in_backoff(*ranked) == "".join(ranked[index].name for index in scenario.in_backoff)
    if upstream:
        assert [stream.label for stream in party.network.left_open] == [f"{ranked[scenario.winner or 0].address} near"]
        await upstream.stream.send(b"hello")
        await wait_all_tasks_blocked()
        assert [data for data in party.arrived if data] == [b"hello"], "nothing was sent to a loser"
        await aclose_forcefully(upstream.stream)
    assert party.network.left_open == []


async def test_of_two_that_come_through_at_once_one_is_closed(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, delay=1)
    party.add(B, delay=0.5)
    upstream = await party.dial(Chain(Group(A, B), hedge=0.5))
    assert party.network.left_open == [upstream.stream]
    await aclose_forcefully(upstream.stream)


async def test_the_error_tells_of_all_tries(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, REFUSES.trouble)
    party.add(B, GARBAGE.trouble)
    with pytest.raises(DialError) as caught:
        await party.dial(Chain(Group(A, B, name="exits")))
    assert str(caught.value) == (
        "hop b (1 of 1) at 10.1.0.2:1080, method negotiation: the answer to the method negotiation is not SOCKS5; "
        "it looks like an HTTP server's answer ('HTTP/1.1 400 Bad Request') (0.00 s of 1.5 s); before that, "
        "hop a (1 of 1) at 10.1.0.1:1080, TCP connect: connection refused (0.00 s of 4 s)"
    )


async def test_a_hop_without_a_stand_in_is_the_end(party: Party, autojump_clock: MockClock) -> None:
    party.add(A)
    party.add(B)
    party.add(PARIS, NO_LOGIN.trouble)
    with pytest.raises(DialError, match="paris"):
        await party.dial(Chain(PARIS, Group(A, B)))
    assert len(party.network.connects) == 1
    assert party.in_backoff(PARIS, A, B) == "", "no other hop could take its place"


class TestWhoseFaultItIs:
    """A fixed hop, then a group; or two groups."""

    async def test_a_dead_member_behind_another_hop_is_found_out(self, party: Party, autojump_clock: MockClock) -> None:
        party.add(PARIS)
        party.add(A, REFUSES.trouble)
        party.add(B)
        await aclose_forcefully((await party.dial(Chain(PARIS, Group(A, B)))).stream)
        assert party.in_backoff(PARIS, A, B) == "a", "paris has reached another one: so it was a"

    async def test_no_hop_is_blamed_for_what_the_only_previous_hop_says(
        self, party: Party, autojump_clock: MockClock
    ) -> None:
        party.add(PARIS)
        party.add(A, REFUSES.trouble)
        party.add(B, REFUSES.trouble)
        with pytest.raises(DialError):
            await party.dial(Chain(PARIS, Group(A, B)))
        assert party.in_backoff(PARIS, A, B) == ""

    async def test_the_previous_hop_is_changed_when_no_hop_behind_it_is_reached(
        self, party: Party, autojump_clock: MockClock
    ) -> None:
        party.add(A, TRUE_REFUSAL.trouble)  # whatever it is asked for
        party.add(B)
        party.add(C)
        party.add(D)
        chain = Chain(Group(A, B, name="entries"), Group(C, D, name="exits"))
        await aclose_forcefully((await party.dial(chain)).stream)
        assert party.tried(A, B, C, D) == [("a", 0), ("a", 0), ("b", 0), ("d", 0)]
        assert party.in_backoff(A, B, C, D) == "a", "d was reached by another way, and c was never heard"

    async def test_a_hop_whose_rules_forbid_it_lives(self, party: Party, autojump_clock: MockClock) -> None:
        async def forbid(stream: MemoryStream) -> None:
            for answer in (b"\x05\x02", b"\x01\x00", b"\x05\x02\x00\x01\0\0\0\0\0\0"):
                await stream.receive()
                await stream.send(answer)

        party.network.hosts[A.address] = Host(forbid)
        party.add(B)
        await aclose_forcefully((await party.dial(Chain(Group(A, B)))).stream)
        assert party.in_backoff(A, B) == ""

    async def test_a_name_that_is_not_found_here_is_no_hops_fault(
        self, party: Party, autojump_clock: MockClock
    ) -> None:
        party.add(A)
        party.add(B)
        local = [replace(hop, resolve=Resolve.LOCAL) for hop in (A, B)]
        with pytest.raises(DialError, match=r"no address for example\.org"):
            await party.dial(Chain(Group(*local)))
        assert party.in_backoff(A, B) == ""

    async def test_running_out_of_file_descriptors_is_nobodys_fault(
        self, party: Party, autojump_clock: MockClock
    ) -> None:
        party.network.hosts[A.address] = Host(error=errno.EMFILE)
        party.add(B)
        with pytest.raises(DialError, match="too many open files"):
            await party.dial(Chain(Group(A, B)))
        assert party.tried(A, B) == [("a", 0)]
        assert party.in_backoff(A, B) == ""

    async def test_a_lack_of_local_ports_for_one_hop_is_no_fault_of_its(
        self, party: Party, autojump_clock: MockClock
    ) -> None:
        party.network.hosts[A.address] = Host(error=errno.EADDRNOTAVAIL)
        party.add(B)
        await aclose_forcefully((await party.dial(Chain(Group(A, B)))).stream)
        assert party.tried(A, B) == [("a", 0), ("b", 0)]
        assert party.in_backoff(A, B) == ""


async def test_a_resting_hop_is_not_asked_while_others_live(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, REFUSES.trouble)
    party.add(B)
    chain = Chain(Group(A, B))
    for _ in range(3):
        await aclose_forcefully((await party.dial(chain)).stream)
    assert [name for name, _ in party.tried(A, B)] == ["a", "b", "b", "b"]


async def test_it_comes_back_by_itself_and_one_request_finds_out(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, REFUSES.trouble)
    party.add(B)
    chain = Chain(Group(A, B))
    await aclose_forcefully((await party.dial(chain)).stream)
    party.add(A, delay=1)
    await trio.sleep(2000)
    party.network.connects.clear()

    async def ask() -> None:
        await aclose_forcefully((await party.dial(chain)).stream)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert sorted(name for name, _ in party.tried(A, B)) == ["a", "b", "b", "b", "b"]
    assert party.in_backoff(A, B) == ""
    await ask()
    assert party.tried(A, B)[-1][0] == "a"


async def test_a_hop_that_loses_to_its_hedge_again_and_again_rests(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, delay=3)
    party.add(B)
    chain = Chain(Group(A, B), hedge=0.5)
    for number in range(LOST_IN_A_ROW):
        assert party.in_backoff(A, B) == "", number
        await aclose_forcefully((await party.dial(chain)).stream)
    assert party.in_backoff(A, B) == "a"


async def test_the_hedge_that_loses_has_not_failed(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, delay=1)
    party.add(B, delay=3)
    chain = Chain(Group(A, B), hedge=0.5)
    for _ in range(2 * LOST_IN_A_ROW):
        await aclose_forcefully((await party.dial(chain)).stream)
    assert party.in_backoff(A, B) == ""


async def test_a_caller_that_gives_up_leaves_nothing(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, delay=3)
    party.add(B, delay=3)
    for hedge in (None, 0.5):
        with trio.move_on_after(1) as scope:
            await party.dial(Chain(Group(A, B), hedge=hedge))
        assert scope.cancelled_caught
        assert party.network.left_open == []
    assert party.in_backoff(A, B) == ""


async def test_a_chain_may_leave_dead_hops_out(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, REFUSES.trouble)
    party.add(B)
    party.add(C)
    chain = Chain(A, B, C, skip_dead=True)
    await aclose_forcefully((await party.dial(chain)).stream)
    assert party.tried(A, B, C) == [("a", 0), ("b", 0), ("c", 0)]
    party.network.connects.clear()
    await aclose_forcefully((await party.dial(chain)).stream)
    assert party.tried(A, B, C) == [("b", 0), ("c", 0)]


async def test_it_never_gets_shorter_than_it_says(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, REFUSES.trouble)
    party.add(B, REFUSES.trouble)
    party.add(C)
    with pytest.raises(DialError):
        await party.dial(Chain(A, B, C, skip_dead=True, length=2))
    assert party.arrived == []


async def test_it_never_becomes_direct(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, REFUSES.trouble)
    for chain in (Chain(A, skip_dead=True), Chain(Group(A)), Chain(Group(A), hedge=0.5)):
        with pytest.raises(DialError):
            await party.dial(chain)
    assert DESTINATION not in [address for _, address in party.network.connects]


async def test_more_places_than_hops(party: Party, autojump_clock: MockClock) -> None:
    party.add(A)
    pool = Group(A, name="pool")
    with pytest.raises(RequestRefused, match="more places than hops"):
        await party.dial(Chain(pool, pool))


async def test_associations_fail_over_as_well(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, TRUE_REFUSAL.trouble)  # to a UDP ASSOCIATE it says 05, which no destination has said
    party.add(B)
    association = await associate(Chain(Group(A, B, retry_refused=True)), TIMEOUTS, party.network, party.choices)
    assert [hop.name for hop in association.hops] == ["b"]
    for stream in association.streams.values():
        await aclose_forcefully(stream)
    assert party.network.left_open == []
