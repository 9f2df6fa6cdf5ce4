"""What a hop can do: each answer, from what the hop says, and nothing from what it cannot mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Resolve
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.network import Network
from chainsocks.protocol.address import Address
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Method, Reply
from chainsocks.tools.probe.findings import HopReport
from chainsocks.tools.probe.questions import Answer, Question
from chainsocks.tools.probe.run import inspect
from chainsocks.tools.probe.walk import Walk, walk
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork
from tests.tools.probe.probing import say_nothing

YES, NO, UNDERSTOOD, UNKNOWN = Answer
NAMES, UDP, IPV6 = Question
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=30)
LOCALHOST, MISSING = "localhost:9", "chainsocks.invalid:9"
LOOPBACK, NOWHERE = "[::1]:9", "[2001:db8::1]:9"

HANG_UP, SILENCE = -1, -2
"""What a hop may do in place of a reply code."""

Found = dict[int, dict[Question, Answer]]


@dataclass
class Oracle:
    """A hop that says what it is told to, by the destination; it grants all else, and goes nowhere."""

    says: Mapping[str, int]
    bound: Address = Address("192.0.2.9", 4000)  # noqa: RUF009  (it is frozen)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, client: MemoryStream) -> None:
        data = await client.receive()
        handshake = server_handshake(data, (Method.NO_AUTHENTICATION_REQUIRED,))
        while True:
            handshake.receive_data(data)
            if handshake.state is State.REPLY:
                request = handshake.request
                is_udp = request.command is Command.UDP_ASSOCIATE
                what = "UDP" if is_udp else str(request.destination)
                self.asked.append(what)
                code = self.says.get(what, 0)
                if code == HANG_UP:
                    return
                if code == SILENCE:
                    await trio.sleep_forever()
                handshake.send_reply(Reply(code, self.bound))
            await client.send(handshake.data_to_send())
            data = await client.receive()


async def found_of(
    network: MemoryNetwork, chain: Chain, destination: Address | None = None
) -> tuple[Found, dict[int, dict[Question, str]]]:
    """Walk, ask, and leave nothing open."""
    ours = WatchedNetwork(network)
    reports = await asked(await walk(way_of(chain), destination, dialer_of(ours, TIMEOUTS)), ours)
    assert ours.left_open == []
    answers = {one.position: {what: known.answer for what, known in one.abilities.items()} for one in reports}
    reasons = {one.position: {what: known.why for what, known in one.abilities.items()} for one in reports}
    return answers, reasons


async def asked(walked: Walk, network: Network) -> list[HopReport]:
    """Ask all hops of a walk, and return the reports on those that were asked."""
    reports = [HopReport(walked, position) for position in range(1, len(walked.route.hops) + 1)]
    return [one for one in await inspect(reports, dialer_of(network, TIMEOUTS), pipelining=False) if one.abilities]


def oracle_network(nursery: trio.Nursery, oracle: Oracle) -> MemoryNetwork:
    return MemoryNetwork(nursery, {make_hop(1).address: Host(oracle)})


PARIS = replace(make_hop(1), credentials=None)

ANSWERS: dict[str, tuple[Question, Mapping[str, int], Answer]] = {
    "udp, granted": (UDP, {}, YES),
    "udp, no such command": (UDP, {"UDP": 7}, NO),
    "udp, a rule": (UDP, {"UDP": 2}, NO),
    "udp, hangs up": (UDP, {"UDP": HANG_UP}, NO),
    "udp, silence": (UDP, {"UDP": SILENCE}, UNKNOWN),
    "udp, general failure": (UDP, {"UDP": 1}, UNKNOWN),
    "ipv6, granted": (IPV6, {}, UNDERSTOOD),
    "ipv6, no such type": (IPV6, {LOOPBACK: 8}, NO),
    "ipv6, no network": (IPV6, {LOOPBACK: 3}, UNDERSTOOD),
    "ipv6, no host": (IPV6, {LOOPBACK: 4}, UNDERSTOOD),
    "ipv6, refused": (IPV6, {LOOPBACK: 5}, UNDERSTOOD),
    "ipv6, expired": (IPV6, {LOOPBACK: 6}, UNDERSTOOD),
    "ipv6, a rule and no host": (IPV6, {LOOPBACK: 2, NOWHERE: 4}, UNDERSTOOD),
    "ipv6, a rule and no such type": (IPV6, {LOOPBACK: 2, NOWHERE: 8}, NO),
    "ipv6, two rules": (IPV6, {LOOPBACK: 2, NOWHERE: 2}, UNKNOWN),
    "ipv6, two failures": (IPV6, {LOOPBACK: 1, NOWHERE: 1}, UNKNOWN),
    "ipv6, hangs up twice": (IPV6, {LOOPBACK: HANG_UP, NOWHERE: HANG_UP}, UNKNOWN),
    "ipv6, silence": (IPV6, {LOOPBACK: SILENCE, NOWHERE: SILENCE}, UNKNOWN),
    "names, granted": (NAMES, {}, YES),
    "names, refused there": (NAMES, {LOCALHOST: 5}, YES),
    "names, no such type": (NAMES, {LOCALHOST: 8}, NO),
    "names, a rule and not found": (NAMES, {LOCALHOST: 2, MISSING: 4}, YES),
    "names, two failures": (NAMES, {LOCALHOST: 1, MISSING: 1}, UNKNOWN),
    "names, finds none": (NAMES, {LOCALHOST: 4, MISSING: 4}, UNKNOWN),
    "names, hangs up twice": (NAMES, {LOCALHOST: HANG_UP, MISSING: HANG_UP}, UNKNOWN),
    "names, hangs up and not found": (NAMES, {LOCALHOST: HANG_UP, MISSING: 4}, UNKNOWN),
    "names, a rule and no such type": (NAMES, {LOCALHOST: 2, MISSING: 8}, NO),
    "names, grants what is not": (NAMES, {LOCALHOST: 1, MISSING: 0}, UNKNOWN),
    "names, silence": (NAMES, {LOCALHOST: SILENCE, MISSING: SILENCE}, UNKNOWN),
}


@pytest.mark.parametrize(("question", "says", "answer"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer(
    question: Question, says: Mapping[str, int], answer: Answer, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    oracle = Oracle(says)
    answers, _ = await found_of(oracle_network(nursery, oracle), Chain(PARIS))
    others = {NAMES: YES, UDP: YES, IPV6: UNDERSTOOD}
    assert answers == {1: others | {question: answer}}
    assert trio.current_time() == 1.5 * sum(code == SILENCE for code in says.values())


async def test_an_answer_says_what_it_was_taken_from(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    oracle = Oracle({"UDP": HANG_UP, LOOPBACK: SILENCE, NOWHERE: 2, LOCALHOST: 2, MISSING: 1})
    _, reasons = await found_of(oracle_network(nursery, oracle), Chain(PARIS))
    assert reasons[1] == {
        NAMES: "it refused localhost:9: connection not allowed by ruleset (02); "
        "it refused chainsocks.invalid:9: general SOCKS server failure (01)",
        UDP: "asked to UDP_ASSOCIATE: the connection was closed during the request",
        IPV6: "asked for [::1]:9 it said nothing within 1.5 s; "
        "it refused [2001:db8::1]:9: connection not allowed by ruleset (02)",
    }


async def test_one_answer_is_enough(nursery: trio.Nursery) -> None:
    oracle = Oracle({})
    await found_of(oracle_network(nursery, oracle), Chain(PARIS))
    assert sorted(oracle.asked) == sorted(["UDP", LOOPBACK, LOCALHOST])


async def test_a_relay_that_is_of_no_use_is_no_udp(nursery: trio.Nursery) -> None:
    answers, reasons = await found_of(oracle_network(nursery, Oracle({}, Address("192.0.2.9", 0))), Chain(PARIS))
    assert answers[1][UDP] is NO
    assert reasons[1][UDP] == "asked to UDP_ASSOCIATE: its relay has no port"


@pytest.mark.parametrize(
    ("hop", "answers", "asked"),
    [
        (make_hop(1, HopProtocol.SOCKS4), {NAMES: NO, UDP: NO, IPV6: NO}, []),
        (make_hop(1, HopProtocol.SOCKS4A), {NAMES: YES, UDP: NO, IPV6: NO}, [LOCALHOST]),
        (replace(PARIS, resolve=Resolve.LOCAL), {NAMES: UNKNOWN, UDP: YES, IPV6: UNDERSTOOD}, ["UDP", LOOPBACK]),
    ],
    ids=["socks4", "socks4a", "local"],
)
async def test_what_is_known_is_not_asked(
    hop: object, answers: dict[Question, Answer], asked: list[str], nursery: trio.Nursery
) -> None:
    oracle = Oracle({})
    found, _ = await found_of(oracle_network(nursery, oracle), Chain(hop))  # type: ignore[arg-type]
    assert found == {1: answers}
    assert sorted(oracle.asked) == sorted(asked)


@pytest.mark.parametrize(("host", "question"), [("example.org", NAMES), ("2001:db8::80", IPV6)])
async def test_what_the_walk_has_shown_is_not_asked_again(host: str, question: Question, nursery: trio.Nursery) -> None:
    destination = Address(host, 80)
    oracle = Oracle({LOCALHOST: 8, LOOPBACK: 8})
    found, reasons = await found_of(oracle_network(nursery, oracle), Chain(PARIS), destination)
    assert {what for what, answer in found[1].items() if answer is YES} == {UDP, question}
    assert reasons[1][question] == f"it has connected to {destination}"


async def test_a_refused_destination_shows_nothing(nursery: trio.Nursery) -> None:
    oracle = Oracle({"example.org:80": 5, LOCALHOST: 8})
    found, _ = await found_of(oracle_network(nursery, oracle), Chain(PARIS), Address("example.org", 80))
    assert found[1][NAMES] is NO


async def test_only_the_last_hop_hears_of_the_destination(nursery: trio.Nursery) -> None:
    """And every hop of its own three questions."""
    network = MemoryNetwork(nursery, {Address("192.0.2.80", 80): Host(say_nothing)})
    for position in (1, 2, 3):
        add_hop(network, make_hop(position))
    chain = Chain(*(make_hop(position) for position in (1, 2, 3)))
    found, _ = await found_of(network, chain, Address("192.0.2.80", 80))
    assert found == {position: {NAMES: YES, UDP: YES, IPV6: UNDERSTOOD} for position in (1, 2, 3)}
    reached = [str(address) for _, address in network.connects]
    assert reached.count("192.0.2.80:80") == 1
    assert reached.count(LOCALHOST) == reached.count(LOOPBACK) == 3


@pytest.mark.parametrize(
    ("trouble", "asked"),
    [
        (Trouble(State.METHOD_NEGOTIATION, Fault.GARBAGE), [1]),
        (Trouble(State.REQUEST, Fault.MUTE), [1]),
        (Trouble(State.REQUEST, Fault.REFUSAL), [1, 2]),
    ],
    ids=["dead", "mute", "refuses"],
)
async def test_hops_that_have_answered_are_asked(
    trouble: Trouble, asked: list[int], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery)
    for position in (1, 2, 3):
        add_hop(network, make_hop(position), trouble if position == 2 else None)
    found, _ = await found_of(network, Chain(*(make_hop(position) for position in (1, 2, 3))))
    assert list(found) == asked
    assert found[1] == {NAMES: YES, UDP: YES, IPV6: UNDERSTOOD}


async def test_a_hop_that_dies_in_between_is_not_judged(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    for position in (1, 2):
        add_hop(network, make_hop(position))
    walked = await walk(way_of(Chain(make_hop(1), make_hop(2))), None, dialer_of(network, TIMEOUTS))
    network.hosts[make_hop(2).address] = Host(error=111)
    [_, osaka] = await asked(walked, network)
    for ability in osaka.abilities.values():
        assert ability.answer is UNKNOWN
        assert "it could not be asked: hop paris (1 of 2)" in ability.why
