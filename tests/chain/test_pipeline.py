"""Pipelining: which messages travel together, and what that makes of the time of a dial.

The faults of hops have a table of their own in tests/session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from anyio import EndOfStream

from chainsocks.chain.legs import legs
from chainsocks.chain.operations import Upstream
from chainsocks.chain.pipeline import flights, round_trips
from chainsocks.chain.trip import CONNECT, OPEN, RESOLVE
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Isolate, Pipeline, Resolve
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout, HopProtocolError, HopRefused
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, UserId, UsernamePassword
from tests import dialing
from tests.dialing import associate, dial, resolve
from tests.hops import ANSWERS, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream

OFF, HOP, CHAIN = Pipeline
METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
DESTINATION = Address("192.0.2.80", 80)
NAMED = Address("example.org", 80)
LATENCY = 0.5
"""Of each link, in seconds: a round trip takes one."""
PATIENT = Timeouts(connect=100, hop=100, dial=100)
LOGINS = UsernamePassword(b"bob", b"pw")
MOST = 5
KINDS = {
    "o": (HopProtocol.SOCKS5, None, OFF),
    "h": (HopProtocol.SOCKS5, None, HOP),
    "c": (HopProtocol.SOCKS5, None, CHAIN),
    "O": (HopProtocol.SOCKS5, LOGINS, OFF),
    "H": (HopProtocol.SOCKS5, LOGINS, HOP),
    "C": (HopProtocol.SOCKS5, LOGINS, CHAIN),
    "4": (HopProtocol.SOCKS4, UserId(b"fred"), OFF),
    "a": (HopProtocol.SOCKS4A, UserId(b"fred"), CHAIN),
}
"""Hops by letter: pipelined off, hop or chain; a capital one logs in."""


def route_of(kinds: str) -> Route:
    """A way through a hop for each letter."""
    hops = tuple(
        Hop(f"hop{number}", protocol, Address(f"10.0.0.{number}", 1080), login, pipeline=pipeline)
        for number, (protocol, login, pipeline) in enumerate((KINDS[kind] for kind in kinds), 1)
    )
    return Route(Chain(*hops), hops)


async def wait(stream: MemoryStream) -> None:
    await trio.sleep_forever()


def slow_network(nursery: trio.Nursery, route: Route) -> MemoryNetwork:
    """All hops and the destination, one link from each other."""
    network = MemoryNetwork(nursery, {DESTINATION: Host(wait), NAMED: Host(wait)})
    for hop in route.hops:
        add_hop(network, hop)
    network.hosts = {address: replace(host, latency=LATENCY) for address, host in network.hosts.items()}
    return network


async def time_of(network: MemoryNetwork, route: Route) -> float:
    began = trio.current_time()
    await dial(route.chain, DESTINATION, PATIENT, network)
    return trio.current_time() - began


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, MOST + 1))
@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("o", lambda n: (n + 1) ** 2),
        ("O", lambda n: (n + 1) ** 2 + n * (n + 1) / 2),
        ("4", lambda n: (n + 1) * (n + 2) / 2),
        ("h", lambda n: (n + 1) * (n + 2) / 2),
        ("H", lambda n: (n + 1) * (n + 2) / 2),
        ("c", lambda n: 2 * n + 1),
        ("C", lambda n: 2 * n + 1),
        ("a", lambda n: 2 * n + 1),
    ],
)
async def test_a_dial_takes_the_round_trips_of_its_formula(
    kind: str,
    formula: Callable[[int], float],
    count: int,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    route = route_of(kind * count)
    assert await time_of(slow_network(nursery, route), route) == formula(count)
    assert round_trips(legs(route.hops, DESTINATION)) == formula(count)


@pytest.mark.parametrize(
    ("kinds", "cut", "trips"),
    [
        ("", [], 1),
        ("co", ["co"], 7),
        ("oc", ["o", "c"], 7),
        ("ch", ["ch"], 5),
        ("hc", ["h", "c"], 6),
        ("cco", ["cco"], 10),
        ("CcO", ["CcO"], 13),
        ("coc", ["co", "c"], 11),
        ("ohc", ["o", "h", "c"], 11),
        ("occ", ["o", "cc"], 9),
        ("chcc", ["ch", "cc"], 11),
        ("a4c", ["a4", "c"], 9),
        ("caCac", ["caCac"], 11),
        ("cc4Ha", ["cc4", "H", "a"], 18),
    ],
)
async def test_hops_of_several_kinds(
    kinds: str, cut: list[str], trips: int, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Each goes along with those before it up to the first that does not keep what comes behind its request."""
    route = route_of(kinds)
    plan = legs(route.hops, DESTINATION)
    assert ["".join(kinds[leg.position - 1] for leg in flight) for flight in flights(plan)] == cut
    assert round_trips(plan) == trips
    assert await time_of(slow_network(nursery, route), route) == trips


@pytest.mark.parametrize(("kind", "trips"), [("O", 5), ("o", 4), ("H", 3)])
def test_a_login_that_is_made_up_for_each_session_counts_as_well(kind: str, trips: int) -> None:
    [hop] = route_of(kind).hops
    isolate = Isolate.SESSION if hop.credentials else Isolate.OFF
    declared = replace(hop, credentials=None, isolate=isolate)
    assert round_trips(legs((declared,), DESTINATION)) == trips


def test_a_chains_own_setting_holds_for_the_hops_that_have_none() -> None:
    paris, osaka, lima = (make_hop(number) for number in (1, 2, 3))
    plan = legs((paris, replace(osaka, pipeline=OFF), replace(lima, pipeline=CHAIN)), DESTINATION, pipeline=HOP)
    assert [leg.pipeline for leg in plan] == [HOP, OFF, CHAIN]
    assert [leg.previous_pipeline for leg in plan] == [OFF, HOP, OFF]


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="'both' is not a valid Pipeline"):
        Chain(pipeline="both")  # type: ignore[arg-type]


# --- what is sent, and when ------------------------------------------------------------------------------------------


class Recorder:
    """A first hop that answers by a script, and records what it is sent."""

    def __init__(self, *answers: tuple[float, bytes]) -> None:
        self.answers = answers
        self.received: list[tuple[float, bytes]] = []

    async def serve(self, stream: MemoryStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, stream)
            began = trio.current_time()
            for at, answer in self.answers:
                await trio.sleep_until(began + at)
                await stream.send(answer)

    async def _listen(self, stream: MemoryStream) -> None:
        with suppress(EndOfStream):
            while True:
                data = await stream.receive()
                self.received.append((trio.current_time(), data))


GREETING, LOGIN_MESSAGE, WITH_LOGIN = "050100", "0103626f62027077", "050102"
TO_SECOND, TO_DESTINATION = "050100010a0000020438", "05010001c00002500050"
GRANTED = b"\x05\x00\x00\x01\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("kinds", "first"),
    [
        ("o", GREETING),
        ("h", GREETING + TO_DESTINATION),
        ("H", WITH_LOGIN + LOGIN_MESSAGE + TO_DESTINATION),
        ("ho", GREETING + TO_SECOND),
        ("hC", GREETING + TO_SECOND),
        ("co", GREETING + TO_SECOND + GREETING),
        ("cO", GREETING + TO_SECOND + "05020002"),
        ("CC", WITH_LOGIN + LOGIN_MESSAGE + TO_SECOND + WITH_LOGIN + LOGIN_MESSAGE + TO_DESTINATION),
        ("ca", GREETING + TO_SECOND + "04010050c00002506672656400"),
    ],
)
async def test_what_goes_out_before_any_answer(
    kinds: str, first: str, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """One method is offered where the rest goes along."""
    recorder = Recorder()
    network = MemoryNetwork(nursery, {Address("10.0.0.1", 1080): Host(recorder.serve)})
    with pytest.raises(DialTimeout):
        await dial(route_of(kinds).chain, DESTINATION, Timeouts(), network)
    assert [data.hex() for _, data in recorder.received] == [first]
    assert network.left_open == []


@pytest.mark.parametrize("size", [1, 2, 3, 100], ids=lambda size: f"in-portions-of-{size}")
async def test_answers_come_in_any_portions(size: int, nursery: trio.Nursery) -> None:
    route = route_of("CcaC")
    with_login, without, granted4 = b"\x05\x02\x01\x00" + GRANTED, b"\x05\x00" + GRANTED, b"\0\x5a" + bytes(6)
    answers = with_login + without + granted4 + with_login[:-6] + b"\xc0\0\2\1\0\7" + b"220 welcome\r\n"

    async def serve(stream: MemoryStream) -> None:
        for start in range(0, len(answers), size):
            await stream.send(answers[start : start + size])
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep_forever()

    network = MemoryNetwork(nursery, {route.hops[0].address: Host(serve)})
    upstream = await dial(route.chain, DESTINATION, Timeouts(), network)
    assert upstream.bound == Address("192.0.2.1", 7)
    rest = upstream.trailing_data
    while len(rest) < 13:
        rest += await upstream.stream.receive()
    assert rest == b"220 welcome\r\n"


async def test_what_trails_a_reply_between_two_flights_is_an_error(nursery: trio.Nursery) -> None:
    route = route_of("hc")

    async def serve(stream: MemoryStream) -> None:
        await stream.send(b"\x05\x00" + GRANTED + b"\x05\x00")
        await trio.sleep_forever()

    network = MemoryNetwork(nursery, {route.hops[0].address: Host(serve)})
    with pytest.raises(HopProtocolError, match="2 bytes came behind its reply, unasked") as caught:
        await dial(route.chain, DESTINATION, Timeouts(), network)
    assert caught.value.place.who == "hop1 (1 of 2)"


async def test_a_refusal_ends_the_dial_whatever_was_sent_behind(nursery: trio.Nursery) -> None:
    """The next hop never got its messages; what looks like its answers is not read."""
    route = route_of("cc")

    async def serve(stream: MemoryStream) -> None:
        await stream.send(b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0" + b"\x05\x00" + GRANTED)
        await trio.sleep_forever()

    network = MemoryNetwork(nursery, {route.hops[0].address: Host(serve)})
    with pytest.raises(HopRefused, match=r"could not reach hop2 at 10\.0\.0\.2:1080") as caught:
        await dial(route.chain, DESTINATION, Timeouts(), network)
    assert caught.value.place.who == "hop1 (1 of 2)"
    assert network.left_open == []


@pytest.mark.parametrize(
    ("timeout", "answers", "hop", "step", "at"),
    [
        pytest.param(3, [], "hop1 (1 of 2)", METHOD, 3, id="the first hop says nothing"),
        pytest.param(3, [(2, b"\x05\x00")], "hop1 (1 of 2)", REQUEST, 3, id="and then is slow"),
        pytest.param(3, [(2, b"\x05\x00" + GRANTED)], "hop2 (2 of 2)", METHOD, 5, id="the second one says nothing"),
        pytest.param(
            3, [(2, b"\x05\x00" + GRANTED + b"\x05\x00")], "hop2 (2 of 2)", REQUEST, 5, id="and then is slow itself"
        ),
        pytest.param(
            3, [(2, b"\x05\x00" + GRANTED), (4, b"\x05\x00")], "hop2 (2 of 2)", REQUEST, 5, id="a total, not per read"
        ),
        pytest.param(9, [(8, b"\x05\x00" + GRANTED)], "hop2 (2 of 2)", METHOD, 10, id="the whole chain's time is over"),
    ],
)
async def test_each_hops_clock_starts_when_the_one_before_has_replied(
    timeout: float,
    answers: list[tuple[float, bytes]],
    hop: str,
    step: str,
    at: float,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    route = route_of("cc")
    network = MemoryNetwork(nursery, {route.hops[0].address: Host(Recorder(*answers).serve)})
    with pytest.raises(DialTimeout) as caught:
        await dial(route.chain, DESTINATION, Timeouts(hop=timeout, dial=10), network)
    assert (caught.value.place.who, caught.value.place.step) == (hop, step)
    assert trio.current_time() == at


async def test_a_hops_own_limit_holds_for_its_own_answers(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    first, second = route_of("cc").hops
    recorder = Recorder((4, b"\x05\x00" + GRANTED))
    network = MemoryNetwork(nursery, {first.address: Host(recorder.serve)})
    with pytest.raises(DialTimeout, match=r"no complete answer on the way to 192.0.2.80:80 \(2.00 s of 2 s\)"):
        await dial(Chain(first, replace(second, timeout=2)), DESTINATION, Timeouts(hop=5), network)
    assert trio.current_time() == 6


async def test_names_are_looked_up_before_their_requests_are_sent(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    hops = [replace(hop, resolve=Resolve.LOCAL) for hop in route_of("cc").hops]
    recorder = Recorder()
    network = MemoryNetwork(nursery, {hops[0].address: Host(recorder.serve)}, {"example.org": ["192.0.2.80"]}, 2)
    reported: list[tuple[str | None, str]] = []
    with pytest.raises(DialTimeout):
        await dial(Chain(*hops), NAMED, Timeouts(hop=1), network, lambda at, _: reported.append((at.who, at.step)))
    assert reported == [("hop1 (1 of 2)", CONNECT), ("hop2 (2 of 2)", RESOLVE), ("hop1 (1 of 2)", METHOD)]
    assert [(at, data.hex()) for at, data in recorder.received] == [
        (2, GREETING + TO_SECOND + GREETING + TO_DESTINATION),
    ]
    assert trio.current_time() == 3


async def test_a_look_up_has_its_own_limit(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    hops = [replace(hop, resolve=Resolve.LOCAL) for hop in route_of("cc").hops]
    recorder = Recorder()
    network = MemoryNetwork(nursery, {hops[0].address: Host(recorder.serve)}, {"example.org": ["192.0.2.80"]}, 9)
    with pytest.raises(DialTimeout) as caught:
        await dial(Chain(*hops), NAMED, Timeouts(resolve=4), network)
    assert (caught.value.place.who, caught.value.place.step) == ("hop2 (2 of 2)", RESOLVE)
    assert recorder.received == []
    assert trio.current_time() == 4


@pytest.mark.parametrize("latency", [0, LATENCY])
async def test_each_step_is_reported_also_when_its_answer_came_with_others(
    latency: float, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    route = route_of("CaC")
    network = slow_network(nursery, route)
    network.hosts = {address: replace(host, latency=latency) for address, host in network.hosts.items()}
    reported: list[tuple[str | None, str]] = []
    await dial(route.chain, DESTINATION, PATIENT, network, lambda at, _: reported.append((at.who, at.step)))
    first, second, third = (f"hop{number} ({number} of 3)" for number in (1, 2, 3))
    assert reported == [
        (first, CONNECT),
        *((first, step) for step in (METHOD, LOGIN, REQUEST)),
        (second, REQUEST),
        *((third, step) for step in (METHOD, LOGIN, REQUEST)),
        (None, OPEN),
    ]


async def test_a_hop_that_loses_what_comes_behind_is_found_by_its_limit(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """It is the next hop that does not answer then, as far as anybody can tell."""
    route = route_of("cc")

    async def lose(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00" + GRANTED)
        await trio.sleep_forever()

    network = MemoryNetwork(nursery, {route.hops[0].address: Host(lose)})
    with pytest.raises(DialTimeout, match="no complete answer") as caught:
        await dial(route.chain, DESTINATION, Timeouts(), network)
    assert caught.value.place.who == "hop2 (2 of 2)"


async def test_the_way_is_open_for_the_clients_data_only_then(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    route = route_of("ccc")
    network = slow_network(nursery, route)
    recorder = Recorder()
    network.hosts[DESTINATION] = Host(recorder.serve, latency=LATENCY)
    upstream: Upstream = await dial(route.chain, DESTINATION, PATIENT, network)
    await upstream.stream.send(b"GET / HTTP/1.0\r\n\r\n")
    await trio.sleep(10)
    assert [data for _, data in recorder.received] == [b"GET / HTTP/1.0\r\n\r\n"]


# --- the other commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "trips"), [("o", 15), ("h", 9), ("c", 6)])
async def test_a_bind_through_three_hops(
    kind: str, trips: float, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """There is no connect to the destination in it, up to the first reply; the second one is waited for as ever."""
    route = route_of(kind * 3)
    network = slow_network(nursery, route)
    began = trio.current_time()
    binding = await dialing.bind(route.chain, DESTINATION, PATIENT, network)
    assert trio.current_time() - began == trips
    peer = network.call(binding.address, DESTINATION)
    upstream = await dialing.accept(binding, network)
    assert upstream.bound == DESTINATION
    await peer.send(b"150 here it comes\r\n")
    assert await upstream.stream.receive() == b"150 here it comes\r\n"


@pytest.mark.parametrize("command", [Command.RESOLVE, Command.RESOLVE_PTR])
@pytest.mark.parametrize(("kind", "trips"), [("o", 15), ("h", 9), ("c", 6), ("C", 6)])
async def test_a_name_asked_of_the_last_of_three_hops(
    kind: str, trips: float, command: Command, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """As a BIND: no connection to the destination is made."""
    route = route_of(kind * 3)
    chain = route.chain.with_each(lambda hop: replace(hop, tor=True))
    subject = NAMED if command is Command.RESOLVE else DESTINATION
    began = trio.current_time()
    assert await resolve(chain, subject, PATIENT, slow_network(nursery, route), command) == ANSWERS[command]
    assert trio.current_time() - began == trips


@pytest.mark.parametrize(("kind", "trips"), [("o", 3 + 8 + 15), ("h", 2 + 5 + 9), ("c", 2 + 4 + 6)])
async def test_associations_at_three_hops(
    kind: str, trips: float, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Each of the three is a dial of its own, without a connect at its end."""
    route = route_of(kind * 3)
    network = slow_network(nursery, route)
    began = trio.current_time()
    association = await associate(route.chain, PATIENT, network)
    assert trio.current_time() - began == trips
    assert [relay.host for relay in association.relays] == [hop.address.host for hop in route.hops]
