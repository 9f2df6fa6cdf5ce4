"""A trip: what its steps report, what its limits say, and how it ends when its client has left."""

from __future__ import annotations

import itertools
import math

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.legs import legs
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import open_connection
from chainsocks.chain.trip import CONNECT, OPEN, Abandonment, RequestAbandoned, Trip
from chainsocks.config.chains import DIRECT, Chain, Route
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout, Place
from chainsocks.observe.counters import Counters
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream

DESTINATION = Address("192.0.2.80", 80)
TIMEOUTS = Timeouts(connect=4, hop=3, dial=9)


def route_of(chain: Chain) -> Route:
    assert chain.route
    return chain.route


async def listen(stream: MemoryStream) -> None:
    await trio.sleep_forever()


async def test_each_step_reports_its_place_and_its_deadline(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network, hop, steps = MemoryNetwork(nursery), make_hop(1), list[tuple[str | None, str, float]]()
    add_hop(network, hop)
    network.hosts[DESTINATION] = Host(listen)

    def note(place: Place, deadline: float) -> None:
        steps.append((place.who, place.step, deadline))

    await Trip(route_of(Chain(hop)), DESTINATION, TIMEOUTS, network, note).run(open_connection)
    name = "paris (1 of 1)"
    assert list(dict.fromkeys(steps)) == [
        (name, CONNECT, 4),
        (name, State.METHOD_NEGOTIATION, 3),
        (name, State.SUB_NEGOTIATION, 3),
        (name, State.REQUEST, 3),
        (None, OPEN, 3),
    ]


async def test_each_step_is_counted_once_though_its_answer_comes_in_pieces(nursery: trio.Nursery) -> None:
    network, hop, times, counters = MemoryNetwork(nursery), make_hop(1), itertools.count(), Counters()
    counters.now = lambda: float(next(times))
    trip = Trip(route_of(Chain(hop)), DESTINATION, TIMEOUTS, network, counters=counters)
    [leg] = legs([hop], DESTINATION)
    for step in (CONNECT, State.REQUEST, State.REQUEST, State.REQUEST):
        trip.enter(leg, step)
    trip.enter(None, OPEN)
    found = {step: (sum(histogram.counts), histogram.sum) for (_, step), histogram in counters.steps.items()}
    assert found == {CONNECT: (1, 1), State.REQUEST: (1, 1)}


async def test_it_moves_the_limit_of_its_caller(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network, hop = MemoryNetwork(nursery), make_hop(1)
    add_hop(network, hop, Trouble(State.REQUEST, Fault.MUTE))
    with pytest.raises(DialTimeout, match="no complete answer on the way to 192"), Limit(network, 1) as limit:
        await Trip(route_of(Chain(hop)), DESTINATION, TIMEOUTS, network, limit=limit).run(open_connection)
    assert trio.current_time() == 3
    assert network.left_open == []


class TestAbandonment:
    @pytest.mark.parametrize(("grace", "ends"), [(1, 2), (math.inf, 4), (0, 1)])
    async def test_it_ends_a_step_early_but_never_late(
        self, grace: float, ends: float, autojump_clock: MockClock, nursery: trio.Nursery
    ) -> None:
        network, abandoned = MemoryNetwork(nursery), Abandonment()
        network.hosts[DESTINATION] = Host(listen, delay=100)
        trip = Trip(route_of(DIRECT), DESTINATION, TIMEOUTS, network, abandoned=abandoned)

        async def leave() -> None:
            await trio.sleep(1)
            abandoned.declare(trio.current_time() + grace)

        nursery.start_soon(leave)
        with pytest.raises(DialTimeout if ends == 4 else RequestAbandoned):
            await trip.run(open_connection)
        assert trio.current_time() == ends
        assert network.left_open == []

    async def test_it_holds_for_steps_that_start_later(self, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
        network, abandoned, hop = MemoryNetwork(nursery), Abandonment(), make_hop(1)
        add_hop(network, hop, Trouble(State.REQUEST, Fault.MUTE))
        abandoned.declare(2)
        with pytest.raises(RequestAbandoned):
            await Trip(route_of(Chain(hop)), DESTINATION, TIMEOUTS, network, abandoned=abandoned).run(open_connection)
        assert trio.current_time() == 2

    async def test_a_trip_that_is_quick_enough_succeeds(self, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
        network, abandoned = MemoryNetwork(nursery), Abandonment()
        network.hosts[DESTINATION] = Host(listen, delay=1)
        abandoned.declare(2)
        await Trip(route_of(DIRECT), DESTINATION, TIMEOUTS, network, abandoned=abandoned).run(open_connection)
        assert trio.current_time() == 1
