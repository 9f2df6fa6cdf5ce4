"""The walk of a probe: every fault, at every step, of every hop of a chain of three, and what each step took."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout, UnsupportedAddress
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.walk import Walk, WarmRequest, ask_on_warm_way, walk, walk_repeatedly
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork
from tests.tools.probe.probing import say_nothing

METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=30)
DESTINATION = Address("example.org", 80)
NAMES = ("paris", "osaka", "lima")


def network_of(nursery: trio.Nursery, trouble: dict[int, Trouble] | None = None, delay: float = 0) -> MemoryNetwork:
    network = MemoryNetwork(nursery, {DESTINATION: Host(say_nothing)})
    for position in (1, 2, 3):
        hop = make_hop(position)
        add_hop(network, hop, (trouble or {}).get(position))
        network.hosts[hop.address] = replace(
            network.hosts[hop.address], delay=delay or network.hosts[hop.address].delay
        )
    return network


async def walked_through(
    network: MemoryNetwork,
    destination: Address | None,
    chain: Chain | None = None,
    timeouts: Timeouts = TIMEOUTS,
) -> Walk:
    """Walk, and leave nothing open."""
    ours = WatchedNetwork(network)
    chain = chain or Chain(*(make_hop(position) for position in (1, 2, 3)))
    walked = await walk(way_of(chain), destination, dialer_of(ours, timeouts))
    assert ours.left_open == []
    return walked


def steps_of(walked: Walk) -> list[tuple[str | None, str, float]]:
    return [(step.place.who, step.place.step, step.seconds) for step in walked.taken]


@dataclass(frozen=True)
class Case:
    """A fault, the step at which it is met, and after how many seconds."""

    step: str
    fault: Fault
    found: str
    seconds: float
    refused: bool = False


HANDSHAKE = [
    Case(step, fault, step, seconds, refused=step == REQUEST and fault is Fault.REFUSAL)
    for step in (METHOD, LOGIN, REQUEST)
    for fault, seconds in (
        (Fault.MUTE, 1.5),
        (Fault.DRIP, 1.5),
        (Fault.RESET, 0),
        (Fault.FIN, 0),
        (Fault.GARBAGE, 0),
        (Fault.REFUSAL, 0),
    )
]
FIRST_CONNECT = [
    Case(CONNECT, Fault.MUTE, CONNECT, 4),
    Case(CONNECT, Fault.RESET, CONNECT, 0),
    Case(CONNECT, Fault.REFUSAL, CONNECT, 0),
]
LATER_CONNECT = [
    Case(CONNECT, Fault.MUTE, REQUEST, 1.5),
    Case(CONNECT, Fault.RESET, REQUEST, 0, refused=True),
    Case(CONNECT, Fault.REFUSAL, REQUEST, 0, refused=True),
]
SCENARIOS = [
    pytest.param(position, case, id=f"{NAMES[position - 1]}-{case.step}-{case.fault}")
    for position in (1, 2, 3)
    for case in (FIRST_CONNECT if position == 1 else LATER_CONNECT) + HANDSHAKE
]


@pytest.mark.parametrize(("position", "case"), SCENARIOS)
async def test_a_fault_is_met_where_it_is(
    position: int, case: Case, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = network_of(nursery, {position: Trouble(case.step, case.fault)})
    walked = await walked_through(network, DESTINATION)

    blamed = position - 1 if case.step == CONNECT and case.found == REQUEST else position
    assert walked.error
    assert walked.failed_at == blamed
    assert walked.error.place.who == f"{NAMES[blamed - 1]} ({blamed} of 3)"
    assert walked.error.place.step == case.found
    assert (walked.refusal is not None) == case.refused
    assert not walked.chain_is_over
    assert walked.passed == blamed - 1
    assert walked.answered == blamed - 1 + case.refused
    assert trio.current_time() == walked.seconds == case.seconds
    steps = steps_of(walked)
    assert steps[-1] == (f"{NAMES[blamed - 1]} ({blamed} of 3)", case.found, case.seconds)
    assert [number for number in (1, 2, 3) if walked.steps(number)] == list(range(1, blamed + 1))
    complete = [CONNECT, METHOD, LOGIN, REQUEST]
    assert [step for _, step, _ in steps] == (complete + 2 * complete[1:])[: len(steps)]


async def test_the_same_faults_are_met_without_a_destination(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = network_of(nursery, {3: Trouble(METHOD, Fault.MUTE)})
    walked = await walked_through(network, None)
    assert walked.error
    assert str(walked.error) == (
        "hop lima (3 of 3) at 10.0.0.3:1080, method negotiation: no complete answer (1.50 s of 1.5 s)"
    ), "it was not asked for 0.0.0.0"
    assert trio.current_time() == 1.5


async def test_all_of_it(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A connect takes half a second, and the request that has a hop make it takes as long."""
    walked = await walked_through(network_of(nursery, delay=0.5), DESTINATION)
    assert walked.error is None
    assert (walked.passed, walked.answered) == (3, 3)
    assert steps_of(walked) == [
        ("paris (1 of 3)", CONNECT, 0.5),
        ("paris (1 of 3)", METHOD, 0),
        ("paris (1 of 3)", LOGIN, 0),
        ("paris (1 of 3)", REQUEST, 0.5),
        ("osaka (2 of 3)", METHOD, 0),
        ("osaka (2 of 3)", LOGIN, 0),
        ("osaka (2 of 3)", REQUEST, 0.5),
        ("lima (3 of 3)", METHOD, 0),
        ("lima (3 of 3)", LOGIN, 0),
        ("lima (3 of 3)", REQUEST, 0),
    ]
    assert walked.seconds == 1.5


async def test_without_a_destination_the_last_hop_is_asked_for_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = network_of(nursery, {3: Trouble(REQUEST, Fault.MUTE)})  # so that it would be noticed
    walked = await walked_through(network, None)
    assert walked.error is None
    assert walked.passed == 3
    assert [step for name, step, _ in steps_of(walked) if name == "lima (3 of 3)"] == [METHOD, LOGIN]
    assert [address for _, address in network.connects] == [make_hop(number).address for number in (1, 2, 3)]


@pytest.mark.parametrize("protocol", [HopProtocol.SOCKS4, HopProtocol.SOCKS4A])
async def test_socks4_says_nothing_before_a_request(protocol: HopProtocol, nursery: trio.Nursery) -> None:
    network = network_of(nursery, {2: Trouble(REQUEST, Fault.RESET)})
    walked = await walked_through(network, None, Chain(make_hop(1), make_hop(2, protocol)))
    assert walked.error is None
    assert walked.steps(2) == []
    assert walked.steps(1)[-1].place.step == REQUEST


async def test_its_own_limit_of_the_last_hop(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = network_of(nursery, {1: Trouble(LOGIN, Fault.MUTE)})
    walked = await walked_through(network, None, Chain(make_hop(1, timeout=0.25)))
    assert walked.error
    assert walked.error.limit == walked.seconds == 0.25


@pytest.mark.parametrize(
    ("timeouts", "dial", "is_over"),
    [(Timeouts(hop=3), None, False), (Timeouts(hop=3, dial=3), None, True), (Timeouts(hop=3), 2, True)],
    ids=["the step's", "both", "the chain's"],
)
async def test_whose_limit_it_was(
    timeouts: Timeouts, dial: float | None, autojump_clock: MockClock, nursery: trio.Nursery, *, is_over: bool
) -> None:
    network = network_of(nursery, {1: Trouble(METHOD, Fault.MUTE)})
    walked = await walked_through(network, None, Chain(make_hop(1), dial=dial), timeouts)
    assert walked.error
    assert isinstance(walked.error, DialTimeout)
    assert walked.chain_is_over == is_over
    assert walked.seconds == (dial or 3)


async def test_a_direct_connection(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    network.names = {"example.org": ["10.0.0.80"]}
    network.resolve_delay = 0.25
    network.hosts[Address("10.0.0.80", 80)] = Host(say_nothing, delay=1)
    walked = await walked_through(network, DESTINATION, DIRECT)
    assert walked.error is None
    assert steps_of(walked) == [(None, RESOLVE, 0.25), (None, CONNECT, 1)]


async def test_directly_to_an_address_where_nothing_listens(nursery: trio.Nursery) -> None:
    walked = await walked_through(MemoryNetwork(nursery), Address("10.0.0.80", 80), DIRECT)
    assert walked.error
    assert walked.failed_at is None
    assert (walked.passed, walked.answered) == (0, 0)


async def test_a_chain_that_cannot_be_is_not_begun(nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    walked = await walked_through(network, DESTINATION, Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4)))
    assert walked.error
    assert isinstance(walked.error, UnsupportedAddress)
    assert walked.failed_at == 2
    assert (walked.passed, walked.answered) == (0, 0)
    assert network.connects == []


async def test_the_refusal_of_a_middle_hop_is_known_by_its_code(nursery: trio.Nursery) -> None:
    walked = await walked_through(network_of(nursery, {2: Trouble(CONNECT, Fault.REFUSAL)}), DESTINATION)
    assert walked.error
    assert walked.refusal == 5


async def test_medians_of_several_walks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = network_of(nursery)

    host, delays = network.hosts[make_hop(1).address], iter((9.0, 2.0, 0.0))
    honest, host.delay = host.handler, 1
    assert honest

    async def serve(stream: MemoryStream) -> None:
        host.delay = next(delays)  # for the next one
        await honest(stream)

    host.handler = serve
    walked = await walk_repeatedly(3, way_of(Chain(make_hop(1))), None, dialer_of(network, Timeouts()))
    assert trio.current_time() == 12
    assert steps_of(walked)[0] == ("paris (1 of 1)", CONNECT, 2)
    assert [step for _, step, _ in steps_of(walked)] == [CONNECT, METHOD, LOGIN]


async def test_the_first_walk_that_fails_is_the_last_one(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = network_of(nursery, {1: Trouble(METHOD, Fault.MUTE)})
    walked = await walk_repeatedly(3, way_of(Chain(make_hop(1))), None, dialer_of(network, TIMEOUTS))
    assert walked.error
    assert trio.current_time() == 1.5


async def test_a_request_on_a_warm_way_is_timed_alone(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    route = way_of(Chain(make_hop(1), make_hop(2)))
    for position in (1, 2):
        host = network.hosts[make_hop(position).address]
        host.latency = 1
    network.hosts[DESTINATION].delay = 2
    ours = WatchedNetwork(network)
    asked = await ask_on_warm_way(3, route, DESTINATION, dialer_of(ours, Timeouts()))
    assert asked == WarmRequest(6)
    assert ours.left_open == []


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Trouble(METHOD, Fault.MUTE), r"hop osaka \(2 of 2\).* method negotiation: no complete answer"),
        (Trouble(REQUEST, Fault.REFUSAL), r"hop osaka \(2 of 2\).* request: it refused"),
        (Trouble(REQUEST, Fault.FIN), r"hop osaka \(2 of 2\).* request: the connection was closed"),
    ],
)
async def test_a_warm_way_that_fails(
    fault: Trouble, problem: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = WatchedNetwork(network_of(nursery, {2: fault}))
    route = way_of(Chain(make_hop(1), make_hop(2)))
    asked = await ask_on_warm_way(1, route, DESTINATION, dialer_of(network, TIMEOUTS))
    assert asked.seconds is None
    assert re.search(problem, asked.problem)
    assert network.left_open == []


async def test_a_warm_way_that_ends_at_its_request(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network, hop = network_of(nursery), replace(make_hop(1), credentials=None)
    add_hop(network, hop)
    honest, connections = network.hosts[hop.address].handler, iter(range(9))
    assert honest

    async def serve(stream: MemoryStream) -> None:
        if next(connections):
            return await honest(stream)
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        return None

    network.hosts[hop.address].handler = serve
    asked = await ask_on_warm_way(1, way_of(Chain(hop)), DESTINATION, dialer_of(network, TIMEOUTS))
    assert asked == WarmRequest(None, "the way had ended before its request was answered")
