"""The walk that asks the last hop for nothing: how far it goes, what it meets there, and that all is closed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT, OPEN
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.groups import Group
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    UnsupportedAddress,
)
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.handshake import State
from tests import dialing
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.mechanism import FakeMechanism
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork

METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=30)
HOPS = tuple(make_hop(position) for position in (1, 2, 3))


def network_of(nursery: trio.Nursery, trouble: dict[int, Trouble] | None = None) -> MemoryNetwork:
    network = MemoryNetwork(nursery)
    for position, hop in enumerate(HOPS, 1):
        add_hop(network, hop, (trouble or {}).get(position))
    return network


async def greet(network: MemoryNetwork, chain: Chain, timeouts: Timeouts = TIMEOUTS) -> list[tuple[str | None, str]]:
    """Walk, leave nothing open, and return the steps."""
    ours = WatchedNetwork(network)
    steps: list[tuple[str | None, str]] = []

    try:
        await dialing.greet(chain, timeouts, ours, lambda place, _: steps.append((place.who, place.step)))
    finally:
        assert ours.left_open == []
    return steps


async def test_the_last_hop_is_asked_for_nothing(nursery: trio.Nursery) -> None:
    network = network_of(nursery, {3: Trouble(REQUEST, Fault.MUTE)})  # so that it would be noticed
    assert await greet(network, Chain(*HOPS)) == [
        ("paris (1 of 3)", CONNECT),
        ("paris (1 of 3)", METHOD),
        ("paris (1 of 3)", LOGIN),
        ("paris (1 of 3)", REQUEST),
        ("osaka (2 of 3)", METHOD),
        ("osaka (2 of 3)", LOGIN),
        ("osaka (2 of 3)", REQUEST),
        ("lima (3 of 3)", METHOD),
        ("lima (3 of 3)", LOGIN),
        (None, OPEN),
    ]
    assert [address for _, address in network.connects] == [hop.address for hop in HOPS]
    assert network.logins == [(hop.address.host, b"bob", b"pw") for hop in HOPS]


async def test_one_hop(nursery: trio.Nursery) -> None:
    network = network_of(nursery, {1: Trouble(REQUEST, Fault.MUTE)})
    assert [step for _, step in await greet(network, Chain(HOPS[0]))] == [CONNECT, METHOD, LOGIN, OPEN]


@pytest.mark.parametrize("protocol", [HopProtocol.SOCKS4, HopProtocol.SOCKS4A])
@pytest.mark.parametrize("before", [(), HOPS[:1]], ids=["alone", "behind another"])
async def test_socks4_says_nothing_before_a_request(
    protocol: HopProtocol, before: tuple[()], nursery: trio.Nursery
) -> None:
    network = network_of(nursery, {2: Trouble(REQUEST, Fault.MUTE)})
    steps = await greet(network, Chain(*before, make_hop(2, protocol)))
    assert steps[-2:] == [("paris (1 of 2)", REQUEST) if before else ("osaka (1 of 1)", CONNECT), (None, OPEN)]
    assert network.connects[-1][1] == HOPS[1].address


@pytest.mark.parametrize("protection", [Protection.NONE, Protection.CONFIDENTIALITY])
async def test_a_login_by_gssapi(
    protection: Protection, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    FakeMechanism().install(monkeypatch)
    paris = make_hop(1, login=Gssapi(protection))
    network = MemoryNetwork(nursery)
    add_hop(network, paris, Trouble(REQUEST, Fault.MUTE))
    steps = [step for _, step in await greet(network, Chain(paris))]
    assert steps[:2] == [CONNECT, METHOD]
    assert State.GSSAPI_CONTEXT in steps
    assert REQUEST not in steps
    assert steps[-1] == OPEN


@dataclass(frozen=True)
class Case:
    """What a fault is to whoever meets it, at which of three hops, and after how many seconds."""

    trouble: Trouble
    error: type[DialError]
    seconds: float = 0
    blamed: int = 3


CASES = [
    *(
        Case(Trouble(step, fault), error, seconds)
        for step in (METHOD, LOGIN)
        for fault, error, seconds in (
            (Fault.MUTE, DialTimeout, 1.5),
            (Fault.DRIP, DialTimeout, 1.5),
            (Fault.RESET, HopProtocolError, 0),
            (Fault.FIN, HopProtocolError, 0),
            (Fault.GARBAGE, HopProtocolError, 0),
            (Fault.REFUSAL, HopAuthenticationError, 0),
        )
    ),
    Case(Trouble(CONNECT, Fault.REFUSAL), HopRefused, blamed=2),
    Case(Trouble(CONNECT, Fault.MUTE), DialTimeout, 1.5, blamed=2),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.trouble.step}-{case.trouble.fault}")
async def test_a_fault_of_the_last_hop(case: Case, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with pytest.raises(case.error) as caught:
        await greet(network_of(nursery, {3: case.trouble}), Chain(*HOPS))
    assert caught.value.place.who == f"{HOPS[case.blamed - 1].name} ({case.blamed} of 3)"
    assert caught.value.place.step == (case.trouble.step if case.blamed == 3 else REQUEST)
    assert trio.current_time() == case.seconds


async def test_no_connection(nursery: trio.Nursery) -> None:
    with pytest.raises(ConnectError, match=r"^hop paris \(1 of 1\) at 10.0.0.1:1080, TCP connect: connection refused"):
        await greet(network_of(nursery, {1: Trouble(CONNECT, Fault.REFUSAL)}), Chain(HOPS[0]))


@pytest.mark.parametrize(
    ("position", "says"),
    [
        (2, "no complete answer (1.50 s of 1.5 s)"),
        (1, "no complete answer on the way to 10.0.0.2:1080 (1.50 s of 1.5 s)"),
    ],
)
async def test_nobody_is_said_to_have_been_asked_for_nothing(
    position: int, says: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with pytest.raises(DialTimeout) as caught:
        await greet(network_of(nursery, {position: Trouble(METHOD, Fault.MUTE)}), Chain(*HOPS[:2]))
    assert str(caught.value).endswith(f", method negotiation: {says}")


@pytest.mark.parametrize(
    ("chain", "seconds", "words"),
    [
        (Chain(make_hop(1, timeout=0.25)), 0.25, "no complete answer"),
        (Chain(make_hop(1), dial=1), 1, "no complete answer, and the time for the whole chain is over"),
    ],
    ids=["the hop's own", "the chain's"],
)
async def test_limits(
    chain: Chain, seconds: float, words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with pytest.raises(DialTimeout) as caught:
        await greet(network_of(nursery, {1: Trouble(LOGIN, Fault.MUTE)}), chain)
    assert (caught.value.problem, caught.value.limit) == (words, seconds)
    assert trio.current_time() == seconds


async def test_an_answer_in_pieces(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    await greet(network_of(nursery, {1: Trouble(LOGIN, Fault.DRIP)}), Chain(HOPS[0]), Timeouts(hop=math.inf))
    assert trio.current_time() == 2


async def test_whoever_speaks_unasked_behind_its_reply(nursery: trio.Nursery) -> None:
    async def serve(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\0\x5a\0\0\0\0\0\0\x05\x00")  # with an answer of the next hop, which has not been asked

    paris = make_hop(1, HopProtocol.SOCKS4)
    network = MemoryNetwork(nursery, {paris.address: Host(serve)})
    with pytest.raises(HopProtocolError, match=r"^hop paris \(1 of 2\) .*: 2 bytes came behind its reply, unasked"):
        await greet(network, Chain(paris, HOPS[1]))


async def test_a_chain_that_cannot_be_is_not_begun(nursery: trio.Nursery) -> None:
    named = make_hop(1, HopProtocol.SOCKS4)
    six = Chain(f"socks4://{named.address}", "socks5://[2001:db8::1]:1080")
    network = network_of(nursery)
    with pytest.raises(UnsupportedAddress):
        await greet(network, six)
    assert network.connects == []


async def test_another_member_stands_in(nursery: trio.Nursery) -> None:
    network = network_of(nursery, {1: Trouble(CONNECT, Fault.REFUSAL)})
    steps = await greet(network, Chain(Group(HOPS[0], HOPS[1])))
    assert steps == [
        ("paris (1 of 1)", CONNECT),
        ("osaka (1 of 1)", CONNECT),
        ("osaka (1 of 1)", METHOD),
        ("osaka (1 of 1)", LOGIN),
        (None, OPEN),
    ]


async def test_the_direct_way_has_no_hop_to_greet(nursery: trio.Nursery) -> None:
    with pytest.raises(ValueError, match="no hop to greet"):
        await greet(MemoryNetwork(nursery), DIRECT)
