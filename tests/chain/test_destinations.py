"""What destinations can do to the choice of hops: failures after a request count for one host, until three agree.

Each scenario is a story in steps, of a group with the members a, b and c: requests to hosts, faults and time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import trio
from anyio import aclose_forcefully
from trio.testing import MockClock

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.chain.health import AVOIDED, Health, host_key
from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pick, Pipeline
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import HealthSettings
from chainsocks.errors import DialError
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import IsolationLogin, UserId
from tests.chain.parties import TIMEOUTS, Party, member, party
from tests.dialing import dial
from tests.hops import Fault, Trouble
from tests.memory import Host, MemoryStream

__all__ = ["party"]

REST = 1000  # as the party has it

A, B, C = (member(name, number) for number, name in enumerate("abc", 1))
REQUEST = State.REQUEST

HANGS_UP = Trouble(REQUEST, Fault.FIN)
RESETS = Trouble(REQUEST, Fault.RESET)
SILENT = Trouble(REQUEST, Fault.MUTE)
GARBAGE = Trouble(REQUEST, Fault.GARBAGE)
SAYS_01 = "01"
SAYS_05 = "05"
UNREACHABLE = Trouble(CONNECT, Fault.REFUSAL)
NO_GREETING = Trouble(State.METHOD_NEGOTIATION, Fault.FIN)
NO_LOGIN = Trouble(State.SUB_NEGOTIATION, Fault.REFUSAL)

Trouble_ = Trouble | str | None

AFTER: dict[str, Trouble_] = {
    "hangs up": HANGS_UP,
    "resets": RESETS,
    "is silent": SILENT,
    "breaks the protocol": GARBAGE,
    "says 01": SAYS_01,
}
BEFORE = {"connect": UNREACHABLE, "greeting": NO_GREETING, "login": NO_LOGIN}


@dataclass(frozen=True)
class To:
    """A request to a host, and the hop that it should succeed through; None where it should fail."""

    host: str
    through: str | None


@dataclass(frozen=True)
class Now:
    """From now on a hop behaves like this."""

    hop: str
    trouble: Trouble_


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Down:
    """The hops that are in backoff for all requests now."""

    hops: str


BROKEN_A = Now("a", HANGS_UP)
SCENARIOS: dict[str, tuple[To | Now | Wait | Down, ...]] = {
    "one host": (BROKEN_A, To("x", "b"), Down(""), Now("a", None), To("y", "a"), To("x", "b")),
    "one host again and again": (BROKEN_A, *(To("x", "b"), Wait(REST + 1)) * 5, Down("")),
    "two hosts": (BROKEN_A, To("x", "b"), To("y", "b"), Down("")),
    "two hosts by turns": (BROKEN_A, *(To("x", "b"), To("y", "b"), Wait(REST + 1)) * 3, Down("")),
    "three hosts": (
        BROKEN_A,
        To("x", "b"),
        To("y", "b"),
        Down(""),
        To("z", "b"),
        Down("a"),
        Now("a", None),
        To("w", "b"),
    ),
    "a success between them": (
        BROKEN_A,
        To("x", "b"),
        To("y", "b"),
        Now("a", None),
        To("w", "a"),
        BROKEN_A,
        To("z", "b"),
        Down(""),
    ),
    "three, of which no other member reached one": (
        BROKEN_A,
        To("x", "b"),
        Now("b", SAYS_01),
        Now("c", SAYS_01),
        To("y", None),
        Now("b", None),
        To("z", "b"),
        Down(""),
        To("v", "b"),
        Down(""),
        To("w", "b"),
        Down("a"),
    ),
    "no member reaches any": (
        BROKEN_A,
        Now("b", SAYS_01),
        Now("c", SILENT),
        To("x", None),
        To("y", None),
        To("z", None),
        Down(""),
    ),
    "the destination refuses": (
        Now("a", SAYS_05),
        *(To(host, None) for host in "xyzw"),
        Down(""),
        Now("a", None),
        To("x", "a"),
    ),
    "it is avoided for a first backoff": (
        BROKEN_A,
        To("x", "b"),
        Now("a", None),
        Wait(REST - 1),
        To("x", "b"),
        Wait(2),
        To("x", "a"),
    ),
    "a success forgets the host": (
        BROKEN_A,
        To("x", "b"),
        Now("a", None),
        Now("b", UNREACHABLE),
        Now("c", UNREACHABLE),
        To("x", "a"),
        Now("b", None),
        Now("c", None),
        To("x", "a"),
    ),
    "all are avoided, and tried in order": (
        BROKEN_A,
        Now("b", HANGS_UP),
        Now("c", HANGS_UP),
        To("x", None),
        Now("a", None),
        Now("b", None),
        To("x", "a"),
    ),
    "spellings of a host": (
        BROKEN_A,
        To("X.example", "b"),
        Now("a", None),
        To("x.EXAMPLE.", "b"),
        To("y.example", "a"),
    ),
    "three spellings are one host": (BROKEN_A, To("x", "b"), To("X", "b"), To("x.", "b"), Down("")),
    "a trial after the backoff": (
        BROKEN_A,
        To("x", "b"),
        To("y", "b"),
        To("z", "b"),
        Down("a"),
        Wait(2 * REST),
        Down(""),
        Now("a", None),
        To("x", "a"),
    ),
    "a failed trial at another host": (
        BROKEN_A,
        To("x", "b"),
        To("y", "b"),
        To("z", "b"),
        Down("a"),
        Wait(2 * REST),
        To("w", "b"),
        Down("a"),
    ),
    **{f"before the request, {name}": (Now("a", how), To("x", "b"), Down("a")) for name, how in BEFORE.items()},
    **{
        f"after it, one host: it {name}": (
            Now("a", how),
            To("x", "b"),
            Down(""),
            Now("a", None),
            To("y", "a"),
            To("x", "b"),
        )
        for name, how in AFTER.items()
    },
    **{
        f"after it, three hosts: it {name}": (Now("a", how), To("x", "b"), To("y", "b"), To("z", "b"), Down("a"))
        for name, how in AFTER.items()
    },
}


def put(party: Party, hop: Hop, trouble: Trouble_) -> None:
    if not isinstance(trouble, str):
        party.add(hop, trouble)
        return

    async def answer(stream: MemoryStream) -> None:
        for said in (b"\x05\x02", b"\x01\x00", b"\x05" + bytes.fromhex(trouble) + b"\x00\x01\0\0\0\0\0\0"):
            await stream.receive()
            await stream.send(said)

    party.network.hosts[hop.address] = Host(answer)


async def request(party: Party, chain: Chain, host: str) -> str | None:
    """Make a request, and return the name of the last hop that it went through; None if it failed."""
    destination = Address(host, 80)
    party.network.hosts.setdefault(destination, Host(party._hear))
    party.network.connects.clear()
    try:
        upstream = await dial(chain, destination, TIMEOUTS, party.network, choices=party.choices)
    except DialError:
        return None
    await aclose_forcefully(upstream.stream)
    return party.tried(A, B, C)[-1][0]


@pytest.mark.parametrize("story", SCENARIOS.values(), ids=SCENARIOS)
async def test_what_a_destination_can_do(
    story: tuple[To | Now | Wait | Down, ...], party: Party, autojump_clock: MockClock
) -> None:
    hops = {hop.name: hop for hop in (A, B, C)}
    chain = Chain(Group(*hops.values()))
    for hop in hops.values():
        put(party, hop, None)
    for number, step in enumerate(story):
        match step:
            case To(host, through):
                assert await request(party, chain, host) == through, f"{number}: {step}"
            case Now(name, trouble):
                put(party, hops[name], trouble)
            case Wait(seconds):
                await trio.sleep(seconds)
            case Down(names):
                assert party.in_backoff(*hops.values()) == names, f"{number}: {step}"


@pytest.mark.parametrize("pick", Pick)
async def test_a_destination_moves_no_other_request(pick: Pick, party: Party, autojump_clock: MockClock) -> None:
    """Nor whose turn it is, nor who is the fastest: each pick goes on as if that destination did not exist."""
    chain = Chain(Group(A, B, C, pick=pick))
    innocent = Party(party.world, party.network)
    for delay, hop in enumerate((A, B, C), 1):
        party.add(hop, delay=delay / 100)
    for host in "defgh":
        expected = await request(innocent, chain, host)
        assert await request(party, chain, host) == expected
        for hop in (A, B, C):
            party.choices.health.record_miss(hop, "nasty", "it hung up")
            party.choices.health.confirm_miss(Suspect(hop, FailedAt.REQUEST), "nasty", "it hung up")


async def test_hops_in_the_middle_are_asked_for_hops_and_fail_for_all(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, HANGS_UP)
    party.add(B)
    party.add(C)
    assert await request(party, Chain(Group(A, B), C), "x") == "c"
    assert party.in_backoff(A, B, C) == "a"


@pytest.mark.parametrize("pipeline", Pipeline)
@pytest.mark.parametrize("step", [State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION])
async def test_a_pipelined_hop_has_the_request_when_it_hangs_up(
    step: State, pipeline: Pipeline, party: Party, autojump_clock: MockClock
) -> None:
    """A reset destroys the answers that were under way, so that it seems to come earlier than it did."""
    party.add(A, Trouble(step, Fault.FIN))
    party.add(B)
    chain = Chain(Group(A, B), pipeline=pipeline)
    assert await request(party, chain, "x") == "b"
    assert party.in_backoff(A, B) == ("a" if pipeline is Pipeline.OFF else "")


async def test_socks4_has_nothing_before_the_request(party: Party, autojump_clock: MockClock) -> None:
    a, b = (replace(hop, protocol=HopProtocol.SOCKS4A, credentials=UserId(b"fred")) for hop in (A, B))
    party.add(a, HANGS_UP)
    party.add(b)
    assert await request(party, Chain(Group(a, b)), "x") == "b"
    assert party.in_backoff(a, b) == ""


async def test_a_login_that_isolates_is_no_identity(party: Party, autojump_clock: MockClock) -> None:
    a, b = (replace(hop, credentials=None) for hop in (A, B))
    party.add(a, HANGS_UP)
    party.add(b)

    def isolated(session: str) -> Chain:
        login = IsolationLogin(session.encode(), b"x")
        return Chain(Group(a, b)).with_each(lambda hop: replace(hop, credentials=login))

    for host in "xyz":
        assert await request(party, isolated(host), host) == "b"
    assert party.in_backoff(a, b) == "a"


async def test_a_hop_that_is_left_out_for_one_host_is_not_for_another(party: Party, autojump_clock: MockClock) -> None:
    chain = Chain(A, B, skip_dead=True)
    party.add(A)
    party.add(B, HANGS_UP)
    assert await request(party, chain, "x") == "a"
    party.add(B)
    assert await request(party, chain, "x") == "a"
    assert await request(party, chain, "y") == "b"


async def test_losing_to_a_hedge_after_the_request_counts_for_one_host(party: Party, autojump_clock: MockClock) -> None:
    party.add(A, SILENT)
    party.add(B)
    chain = Chain(Group(A, B), hedge=0.5)
    for host in "xxxx":
        assert await request(party, chain, host) == "b"
    assert party.in_backoff(A, B) == ""
    for host in "yz":
        assert await request(party, chain, host) == "b"
    assert party.in_backoff(A, B) == "a"


def test_few_pairs_are_remembered() -> None:
    health = Health(lambda: 0.0, HealthSettings(rest=2))
    for number in range(5000):
        health.record_miss(A, f"{number}.example", "it hung up")
    remembered = sum(health.is_avoided(A, f"{number}.example") for number in range(5000))
    assert AVOIDED <= remembered <= 1024
    assert health.is_avoided(A, "4999.example")


@pytest.mark.parametrize(
    ("spelling", "key"),
    [("Example.ORG.", "example.org"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:DB8::1", "2001:db8::1")],
)
def test_a_host_has_one_key(spelling: str, key: str) -> None:
    assert host_key(Address(spelling, 80)) == host_key(Address(spelling, 443)) == key
