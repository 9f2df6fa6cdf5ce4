"""Checks on the mock clock: who is asked when, how far, what comes of it, and that nothing is left."""

from __future__ import annotations

import errno
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import trio
from anyio import aclose_forcefully
from trio.testing import MockClock

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.chain.health import JITTER
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, Pick
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config, HealthSettings, Timeouts
from chainsocks.errors import ConnectError
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.server.health_checks import AT_ONCE, check_members, members_to_check
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from tests.dialing import dial
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork
from tests.net.sockets import LOOPBACK
from tests.server.serving import config_of, connect, echoing, open_session, serving

METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=9)
TARGET = Address("192.0.2.80", 443)
EVERY = 10.0
FIRST = EVERY / 2
"""When everybody is asked first, where chance is not at work."""


class Middle(random.Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def random(self) -> float:
        return 0.5


def member(name: str, number: int) -> Hop:
    return replace(make_hop(1), name=name, address=Address(f"10.1.0.{number}", 1080))


A, B, C, D, E = (member(name, number) for number, name in enumerate("abcde", 1))
PARIS = make_hop(1)


@dataclass
class Party:
    """A network, as its hops and as the server see it, and what the server knows."""

    world: MemoryNetwork
    network: WatchedNetwork
    service: Service
    alive: list[Hop] = field(default_factory=list)

    def add(self, hop: Hop, step: str | None = None, fault: Fault = Fault.REFUSAL, delay: float = 0) -> None:
        """Put a hop there, in good health but for a fault at a step."""
        add_hop(self.world, hop, Trouble(step, fault) if step else None)
        host = self.world.hosts[hop.address]
        self.world.hosts[hop.address] = replace(host, delay=delay or host.delay)

    def in_backoff(self, *hops: Hop) -> str:
        return "".join(hop.name for hop in hops if self.service.dialer.choices.health.in_backoff(hop))

    def asked(self, *hops: Hop) -> list[tuple[str, float]]:
        """Who was connected to, by us or by a hop, and when."""
        names = {hop.address: hop.name for hop in hops} | {TARGET: "target"}
        return [(names[address], round(when, 6)) for when, address in self.network.connects if address in names]

    async def request(self, chain: Chain, destination: Address = TARGET) -> None:
        """Have a client go through a chain."""
        self.world.hosts.setdefault(destination, Host(hear_them_out))
        upstream = await dial(chain, destination, TIMEOUTS, self.network, choices=self.service.dialer.choices)
        await aclose_forcefully(upstream.stream)


async def hear_them_out(stream: MemoryStream) -> None:
    await stream.receive()


@asynccontextmanager
async def checking(*chains: Chain, rng: random.Random | None = None, rest: float = 2) -> AsyncIterator[Party]:
    """Check the members of some chains; at the end, nothing is left open."""
    config = Config(
        timeouts=TIMEOUTS,
        chains={str(number): chain for number, chain in enumerate(chains)},
        health=HealthSettings(rest=rest, longest_rest=1000),
    )
    async with trio.open_nursery() as nursery:
        world = MemoryNetwork(nursery, {TARGET: Host(hear_them_out)})
        network = WatchedNetwork(world)
        party = Party(world, network, Service(config, Logins(()), network))
        party.service.dialer.choices.health._random = Middle()
        async with trio.open_nursery() as checks:
            checks.start_soon(check_members, members_to_check(chains), party.service, rng or Middle())
            yield party
            checks.cancel_scope.cancel()
        assert network.left_open == []
        nursery.cancel_scope.cancel()


def group(*hops: Hop | Group, target: Address | None = None, every: float = EVERY, name: str = "exits") -> Group:
    return Group(*hops, name=name, check=every, check_target=target)


async def test_a_hop_is_greeted_and_left(autojump_clock: MockClock) -> None:
    async with checking(Chain(group(A, B))) as party:
        party.add(A, REQUEST, Fault.MUTE)  # which would be noticed
        party.add(B)
        await trio.sleep(FIRST + 2 * EVERY + 1)
        assert sorted(party.asked(A, B)) == [(name, FIRST + n * EVERY) for name in "ab" for n in range(3)]
        assert sorted(party.world.logins) == [(hop.address.host, b"bob", b"pw") for hop in (A, B) for _ in range(3)]
        assert party.network.left_open == []
        assert party.in_backoff(A, B) == ""


async def test_with_a_target_it_is_asked_to_connect_there(autojump_clock: MockClock) -> None:
    async with checking(Chain(PARIS, group(A, target=TARGET), B)) as party:
        for hop in (PARIS, A, B):
            party.add(hop)
        await trio.sleep(FIRST + 1)
        assert party.asked(PARIS, A, B) == [("paris", FIRST), ("a", FIRST), ("target", FIRST)], "what is behind is not"
        assert party.network.left_open == []
        assert party.world.left_open == []


@pytest.mark.parametrize("protocol", [HopProtocol.SOCKS4, HopProtocol.SOCKS4A])
async def test_socks4_has_no_greeting_and_is_reached_only(protocol: HopProtocol, autojump_clock: MockClock) -> None:
    old, gone = replace(make_hop(2, protocol), name="old"), replace(make_hop(3, protocol), name="gone")
    async with checking(Chain(group(old, gone))) as party:
        party.add(old, REQUEST, Fault.MUTE)
        party.add(gone, CONNECT)
        await trio.sleep(FIRST + 1)
        assert sorted(party.asked(old, gone)) == [("gone", FIRST), ("old", FIRST)]
        assert party.in_backoff(old, gone) == "gone"


# --- what comes of it


@dataclass(frozen=True)
class Case:
    """A fault, and after how many seconds it is one."""

    step: str
    fault: Fault
    seconds: float = 0
    target: Address | None = None


CASES = [
    Case(CONNECT, Fault.REFUSAL),
    Case(CONNECT, Fault.MUTE, seconds=4),
    *(
        Case(step, fault, 1.5 if fault is Fault.MUTE else 0)
        for step in (METHOD, LOGIN)
        for fault in (Fault.MUTE, Fault.RESET, Fault.FIN, Fault.GARBAGE, Fault.REFUSAL)
    ),
    Case(REQUEST, Fault.FIN, target=TARGET),
    Case(REQUEST, Fault.GARBAGE, target=TARGET),
    Case(REQUEST, Fault.MUTE, seconds=1.5, target=TARGET),  # b has shown that the target answers
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.step}-{case.fault}")
async def test_a_dead_hop_rests_and_no_client_has_suffered(case: Case, autojump_clock: MockClock) -> None:
    chain = Chain(group(A, B, target=case.target))
    async with checking(chain) as party:
        party.add(A, case.step, case.fault)
        party.add(B)
        await trio.sleep(FIRST + case.seconds - 0.001)
        assert party.in_backoff(A, B) == ""
        await trio.sleep(0.002)
        assert party.in_backoff(A, B) == "a"
        party.network.connects.clear()
        await party.request(chain)
        assert [name for name, _ in party.asked(A, B)] == ["b", "target"]


async def test_a_hop_that_rested_is_back_after_a_check(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    chain = Chain(group(A, B))
    async with checking(chain, rest=1000) as party:
        party.add(A, CONNECT)
        party.add(B)
        await party.request(chain)
        assert party.in_backoff(A, B) == "a"
        party.add(A)
        await trio.sleep(FIRST - 0.001)
        assert party.in_backoff(A, B) == "a"
        await trio.sleep(0.002)
        assert party.in_backoff(A, B) == ""
        assert [message for message in log.messages if "hop a" in message][-1] == "hop a is back"
        party.network.connects.clear()
        await party.request(chain)
        assert [name for name, _ in party.asked(A, B)] == ["a", "target"]


async def test_it_is_tried_when_its_rest_is_over_and_not_by_a_client(autojump_clock: MockClock) -> None:
    """Rests of 2, 4 and 8 s begin at 1, the first of them while nobody is asked anything for a long time."""
    chain = Chain(group(A, B, every=100))
    async with checking(chain) as party:
        party.add(A, CONNECT)
        party.add(B)
        for _ in range(15):
            await trio.sleep(1)
            await party.request(chain)
        assert [when for name, when in party.asked(A) if name == "a"] == [1, 3, 7, 15]
        assert party.in_backoff(A, B) == "a"


async def test_clients_try_it_all_the_same_where_nobody_lives(autojump_clock: MockClock) -> None:
    chain = Chain(group(A, every=1000))
    async with checking(chain, rest=100) as party:
        party.add(A, CONNECT)
        with pytest.raises(ConnectError):
            await party.request(chain)
        party.add(A)
        await party.request(chain)
        assert party.in_backoff(A) == ""


async def test_a_greeting_does_not_end_the_rest_of_a_hop_that_cannot_connect(autojump_clock: MockClock) -> None:
    chain = Chain(group(A, B, every=3))
    async with checking(chain, rest=8) as party:
        health = party.service.dialer.choices.health
        party.add(A)
        party.add(B)
        health.record_failure(Suspect(A, FailedAt.REQUEST), "something")
        await trio.sleep(7.999)
        assert party.in_backoff(A, B) == "a", "it was greeted, and takes greetings well"
        assert [when for name, when in party.asked(A) if name == "a"] == [1.5, 4.5, 7.5]
        await trio.sleep(0.002)
        assert party.in_backoff(A, B) == "", "a request may try it"
        health.record_failure(Suspect(A, FailedAt.REQUEST), "something")
        await trio.sleep(15.9)
        assert party.in_backoff(A, B) == "a", "it has failed twice in a row, as far as requests are concerned"


async def test_to_connect_is_to_be_well(autojump_clock: MockClock) -> None:
    chain = Chain(group(A, B, target=TARGET, every=3))
    async with checking(chain, rest=8) as party:
        party.add(A)
        party.add(B)
        party.service.dialer.choices.health.record_failure(Suspect(A, FailedAt.REQUEST), "something")
        assert party.in_backoff(A, B) == "a"
        await trio.sleep(1.6)
        assert party.in_backoff(A, B) == ""


async def test_a_request_that_fails_brings_the_check_with_a_target_forward(autojump_clock: MockClock) -> None:
    chain = Chain(group(A, B, target=TARGET, every=1000))
    async with checking(chain, rest=8) as party:
        party.add(A, REQUEST, Fault.FIN)
        party.add(B)
        await party.request(chain, Address("some.example", 80))
        await trio.sleep(0.001)
        assert party.in_backoff(A, B) == "a", "it could not reach the target, and b could"


async def test_such_checks_alone_decide_and_are_made_once_in_the_time_of_a_first_backoff(
    autojump_clock: MockClock,
) -> None:
    chain = Chain(group(A, B, target=TARGET, every=1000))
    async with checking(chain, rest=8) as party:
        party.add(A)
        party.add(B)
        health = party.service.dialer.choices.health
        await trio.sleep(0.5)
        for number in range(33):
            for hop in (A, B):
                host = f"{number % 5}.example"
                health.record_miss(hop, host, "it hung up")
                health.confirm_miss(Suspect(hop, FailedAt.REQUEST), host, "it hung up")
            await trio.sleep(1)
        assert party.in_backoff(A, B) == ""
        assert [when for name, when in party.asked(A, B) if name == "a"] == [0.5, 8.5, 16.5, 24.5, 32.5]


# --- whose fault it is


async def test_a_dead_member_behind_another_hop_is_found_out(autojump_clock: MockClock) -> None:
    async with checking(Chain(PARIS, group(A, B))) as party:
        party.add(PARIS)
        party.add(A, CONNECT)
        party.add(B)
        await trio.sleep(FIRST + 1)
        assert party.in_backoff(PARIS, A, B) == "a", "paris has reached b"


async def test_no_hop_is_blamed_for_what_the_only_previous_hop_says(autojump_clock: MockClock) -> None:
    async with checking(Chain(PARIS, group(A, B))) as party:
        party.add(PARIS)
        party.add(A, CONNECT)
        party.add(B, CONNECT)
        await trio.sleep(FIRST + 1)
        assert party.asked(PARIS, A, B)[0] == ("paris", FIRST)
        assert party.in_backoff(PARIS, A, B) == ""
        asked = len(party.network.connects)
        await trio.sleep(EVERY - 1.001)
        assert len(party.network.connects) == asked, "and nobody is asked again before it is time"


async def test_a_silent_member_that_is_asked_behind_the_request_of_another_hop(autojump_clock: MockClock) -> None:
    """Paris may have lost the greeting, until another member has got one by the same way."""
    async with checking(Chain(PARIS, group(A, B, target=TARGET), pipeline="chain")) as party:
        party.add(PARIS)
        party.add(A, METHOD, Fault.MUTE)
        party.add(B)
        await trio.sleep(FIRST + 4)
        assert party.in_backoff(PARIS, A, B) == "a"


async def test_members_are_not_blamed_where_the_only_previous_hop_loses_pipelined_messages(
    autojump_clock: MockClock,
) -> None:
    async with checking(Chain(PARIS, group(A, B, target=TARGET), pipeline="chain")) as party:
        party.add(PARIS, REQUEST, Fault.LOSS)
        party.add(A)
        party.add(B)
        await trio.sleep(FIRST + 8)
        assert party.asked(A, B), "they have been connected to"
        assert party.in_backoff(PARIS, A, B) == ""


async def test_what_the_way_to_it_does_is_not_held_against_anybody_else(autojump_clock: MockClock) -> None:
    """Paris cannot reach c, or c is dead: no other member is asked, since it would have to go the same way."""
    async with checking(Chain(PARIS, Group(C, name="entries"), group(A, B))) as party:
        party.add(PARIS)
        party.add(C, CONNECT)
        await trio.sleep(FIRST + 1)
        assert sorted(party.asked(PARIS, A, B, C)) == [("c", FIRST)] * 2 + [("paris", FIRST)] * 2
        assert party.in_backoff(PARIS, A, B, C) == ""


async def test_those_that_rest_are_no_witnesses(autojump_clock: MockClock) -> None:
    async with checking(Chain(PARIS, group(B, A, C)), rest=1000) as party:
        party.add(PARIS)
        party.add(A, CONNECT)
        party.add(B, CONNECT)
        party.add(C)
        party.service.dialer.choices.health.record_failure(Suspect(B, FailedAt.REQUEST), "something")
        await trio.sleep(FIRST + 1)
        assert party.asked(B) == [("b", FIRST)], "for itself"
        assert party.in_backoff(A, B, C) == "ab"


async def test_who_has_carried_is_proved_to_live_as_well(autojump_clock: MockClock) -> None:
    chains = Chain(PARIS, group(A)), Chain(C, group(B, target=TARGET, name="x")), Chain(D, group(E, target=TARGET))
    async with checking(*chains) as party:
        for hop in (PARIS, A, B, C, D):
            party.add(hop)
        party.add(E, REQUEST, Fault.REFUSAL)
        await trio.sleep(FIRST + 1)
        assert [party.service.dialer.choices.health.last_success(hop) for hop in (PARIS, A, B, C, D, E)] == [FIRST] * 6


async def test_a_target_that_a_member_cannot_be_asked_for_proves_nothing(autojump_clock: MockClock) -> None:
    old = make_hop(2, HopProtocol.SOCKS4)
    async with checking(Chain(group(old, A, target=Address("2001:db8::1", 443)))) as party:
        await trio.sleep(FIRST + 1)
        assert party.asked(old) == []
        assert party.service.dialer.choices.health.last_success(old) < 0
        assert party.in_backoff(old) == ""


async def test_a_check_that_says_nothing_about_a_resting_hop_is_no_reason_to_ask_again(
    autojump_clock: MockClock,
) -> None:
    async with checking(Chain(PARIS, group(A, B))) as party:
        party.add(PARIS, CONNECT)
        party.service.dialer.choices.health.record_failure(Suspect(A, FailedAt.REQUEST), "something")
        await trio.sleep(FIRST + EVERY)
        assert sorted(party.asked(PARIS)) == [("paris", 2), ("paris", FIRST), ("paris", 2 + EVERY)]


@pytest.mark.parametrize("fault", [Fault.REFUSAL, Fault.MUTE])
async def test_a_dead_previous_hop_is_no_members_fault(fault: Fault, autojump_clock: MockClock) -> None:
    async with checking(Chain(Group(C, D, name="entries"), group(A, B)), rest=1000) as party:
        party.add(C, METHOD, fault)
        for hop in (A, B, D):
            party.add(hop)
        await trio.sleep(FIRST + 2)
        assert party.in_backoff(A, B, C, D) == "c"
        party.network.connects.clear()
        await trio.sleep(EVERY)
        assert {name for name, _ in party.asked(A, B, C, D)} == {"a", "b", "d"}, "the next time, d carries"


async def test_a_previous_hop_that_cannot_be_replaced_gets_no_backoff(autojump_clock: MockClock) -> None:
    async with checking(Chain(PARIS, group(A, B))) as party:
        party.add(PARIS, CONNECT)
        party.add(A)
        await trio.sleep(FIRST + 1)
        assert party.in_backoff(PARIS, A, B) == ""


async def test_a_member_that_tells_what_the_target_did_lives(autojump_clock: MockClock) -> None:
    async with checking(Chain(group(A, B, target=TARGET)), rest=FIRST - 1) as party:
        party.service.dialer.choices.health.record_failure(Suspect(A, FailedAt.REQUEST), "something")
        party.add(A, REQUEST, Fault.REFUSAL)
        party.add(B)
        await trio.sleep(FIRST + 1)
        assert party.in_backoff(A, B) == ""
        assert party.service.dialer.choices.health.last_success(A) == FIRST - 1


async def test_a_target_that_is_down_is_no_members_fault(autojump_clock: MockClock) -> None:
    async with checking(Chain(group(A, B, target=TARGET))) as party:
        for trouble in (Host(error=errno.ECONNREFUSED), Host(error=errno.EHOSTUNREACH), Host()):
            party.add(A)
            party.add(B)
            party.world.hosts[TARGET] = trouble
            await trio.sleep(EVERY)
            assert party.asked(A, B)
            assert party.in_backoff(A, B) == ""


async def test_running_out_of_file_descriptors_is_nobodys_fault(autojump_clock: MockClock) -> None:
    async with checking(Chain(group(A, B))) as party:
        party.network.hosts[A.address] = Host(error=errno.EMFILE)
        party.add(B)
        await trio.sleep(FIRST + 1)
        assert party.in_backoff(A, B) == ""


async def test_no_check_is_a_dial_time(autojump_clock: MockClock) -> None:
    """A request through b takes long because of the way behind it, and a check of a does not: that is no race."""
    fastest = Group(A, B, name="exits", pick=Pick.FASTEST, check=EVERY, check_target=TARGET)
    async with checking(Chain(fastest)) as party:
        party.add(A)
        party.add(B)
        await trio.sleep(FIRST + 1)
        health = party.service.dialer.choices.health
        assert health.last_success(A) == FIRST
        assert health.dial_time(A) is None
        assert health.wants_measuring(A)


# --- when


async def test_those_that_requests_go_through_are_not_asked(autojump_clock: MockClock) -> None:
    chain = Chain(group(A, B))
    async with checking(chain) as party:
        party.add(A)
        party.add(B)
        for _ in range(4):
            await party.request(chain)
            await trio.sleep(FIRST)
        asked = sorted(
            ((name, when) for name, when in party.asked(A, B) if name != "target"), key=lambda one: one[::-1]
        )
        assert asked == [("a", 0), ("a", 5), ("b", 5), ("a", 10), ("a", 15), ("b", 15)], "a by the requests only"
        party.network.connects.clear()
        await trio.sleep(EVERY - FIRST + 0.001)
        assert sorted(party.asked(A, B)) == [("a", 25), ("b", 25)], "ten seconds after the last request"


async def test_chance_spreads_them(autojump_clock: MockClock) -> None:
    hops = [member(f"hop{number}", number) for number in range(50)]
    async with checking(Chain(group(*hops)), rng=random.Random(7)) as party:
        for hop in hops:
            party.add(hop)
        await trio.sleep(EVERY * 4)
        times: dict[str, list[float]] = {hop.name: [] for hop in hops}
        for name, when in party.asked(*hops):
            times[name].append(when)
    firsts = [when[0] for when in times.values()]
    assert max(firsts) <= EVERY
    assert max(firsts) - min(firsts) > EVERY * 0.8
    assert len(set(firsts)) == len(hops)
    for moments in times.values():
        pauses = [after - before for before, after in pairwise(moments)]
        assert all(EVERY * (1 - JITTER) <= pause <= EVERY * (1 + JITTER) for pause in pauses)
        assert len(set(pauses)) == len(pauses) > 1


async def test_a_few_at_a_time(autojump_clock: MockClock) -> None:
    hops = [member(f"hop{number}", number) for number in range(AT_ONCE * 2)]
    async with checking(Chain(group(*hops))) as party:
        for hop in hops:
            party.add(hop, CONNECT, Fault.MUTE)  # 4 s each
        await trio.sleep(FIRST + 4 + 1)
        assert sorted(when for _, when in party.asked(*hops)) == [FIRST] * AT_ONCE + [FIRST + 4] * AT_ONCE


async def test_who_is_proved_to_live_while_waiting_for_its_turn_is_not_asked(autojump_clock: MockClock) -> None:
    hops = [member(f"hop{number}", 100 + number) for number in range(AT_ONCE)]
    late = Chain(group(A, every=EVERY + 1))
    async with checking(Chain(group(*hops)), late) as party:
        for hop in hops:
            party.add(hop, CONNECT, Fault.MUTE)  # until 4 s later
        party.add(A)
        await trio.sleep(FIRST + 1)
        await party.request(late)
        await trio.sleep(4)
        assert [when for name, when in party.asked(A) if name == "a"] == [FIRST + 1]


async def test_limits_of_the_hop_and_of_the_chain(autojump_clock: MockClock) -> None:
    hasty = replace(A, timeout=0.5)
    async with checking(Chain(group(hasty, B), dial=1)) as party:
        party.add(hasty, METHOD, Fault.MUTE)
        party.add(B, METHOD, Fault.MUTE)
        await trio.sleep(FIRST + 0.501)
        assert party.in_backoff(hasty, B) == "a"
        await trio.sleep(0.5)
        assert party.in_backoff(hasty, B) == "ab"


async def test_a_check_that_is_cancelled_leaves_nothing(autojump_clock: MockClock) -> None:
    for step in (CONNECT, METHOD, LOGIN, REQUEST):
        async with checking(Chain(PARIS, group(A, B, target=TARGET))) as party:
            party.add(PARIS)
            party.add(A, step, Fault.MUTE)
            party.add(B)
            await trio.sleep(FIRST + 0.1)
            assert party.network.left_open
        assert party.in_backoff(PARIS, A, B) == ""
        assert party.service.dialer.choices.health._checkers == {}


async def test_a_bug_ends_neither_the_others_nor_the_server(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    async with checking(Chain(group(A, B))) as party:
        party.network.hosts[A.address] = replace(Host(hear_them_out), delay="long")  # type: ignore[arg-type]
        party.add(B)
        await trio.sleep(FIRST + EVERY + 1)
        assert [when for name, when in party.asked(A, B) if name == "b"] == [FIRST, FIRST + EVERY]
    assert len([message for message in log.messages if message.startswith("a bug in chainsocks ended a check")]) == 2


# --- who


def found(*chains: Chain) -> list[tuple[str, str, int, float]]:
    return [(one.hop.name, one.chain.name, one.index, one.every) for one in members_to_check(chains)]


def test_members_of_groups_with_a_check_are_found() -> None:
    plain = Group(C, D, name="plain")
    assert found(Chain(PARIS, plain), Chain()) == []
    chains = (Chain(PARIS, plain, name="x"), Chain(PARIS, group(A, plain), name="y"), Chain(group(A), name="z"))
    assert found(*chains) == [("a", "y", 1, EVERY), ("c", "y", 1, EVERY), ("d", "y", 1, EVERY)]


def test_a_group_with_a_check_in_one_without() -> None:
    inner = group(A, B, name="inner")
    assert found(Chain(Group(inner, C, name="outer"))) == [("a", "default", 0, EVERY), ("b", "default", 0, EVERY)]


def test_the_most_frequent_counts() -> None:
    inner = group(A, name="inner", every=2)
    assert found(Chain(group(inner, B))) == [("a", "default", 0, 2), ("b", "default", 0, EVERY)]
    assert found(Chain(group(A)), Chain(group(A, every=3), name="x")) == [("a", "x", 0, 3)]


def test_off_is_no_check() -> None:
    assert found(Chain(group(A, every=float("inf")))) == []


async def test_hops_of_isolating_kinds_get_a_login(autojump_clock: MockClock) -> None:
    tor = replace(A, isolate=Isolate.SESSION, credentials=None)
    async with checking(Chain(group(tor))) as party:
        party.add(tor)
        await trio.sleep(FIRST + EVERY + 1)
        logins = [login for _, *login in party.world.logins]
        assert len(logins) == 2
        assert logins[0] == logins[1] != [b"bob", b"pw"], "one circuit does for all checks"


async def test_dead_hops_before_it_are_left_out_where_the_chain_says_so(autojump_clock: MockClock) -> None:
    async with checking(Chain(PARIS, C, group(A), skip_dead=True), rest=1000) as party:
        party.add(PARIS)
        party.add(C, METHOD, Fault.FIN)
        party.add(A)
        await trio.sleep(FIRST + 1)
        assert party.in_backoff(PARIS, A, C) == "c"
        party.network.connects.clear()
        await trio.sleep(EVERY)
        assert [name for name, _ in party.asked(PARIS, A, C)] == ["paris", "a"]


# --- in the server


async def test_a_server_checks_until_it_is_told_to_stop(
    sockets_on_mock_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    async with serving(config_of()) as alive, echoing() as destination:
        hops = (Hop("dead", HopProtocol.SOCKS5, Address(LOOPBACK, 1)), parse_hop_url(f"socks5://{alive.address}"))
        front = replace(config_of(grace=1000), chains={"default": Chain(group(*hops))})
        async with serving(front) as server, connect(server.address) as client:
            await trio.sleep(EVERY * (1 + JITTER))
            assert [message for message in log.messages if message.startswith("hop dead in backoff for ")]
            assert greetings(log)
            await open_session(client, destination)
            server.stopping.set()
            await trio.sleep(1)
            before = greetings(log)
            await trio.sleep(EVERY * 5)
            assert not server.ended.is_set(), "it waits for its session"
            assert greetings(log) == before


def greetings(log: pytest.LogCaptureFixture) -> list[str]:
    """The lines of sessions that a hop has had with checks: those that left after their greeting."""
    return [message for message in log.messages if "client, request: " in message]
