"""The dialer: one driver for every operation, along one route or several."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import close_upstream, open_connection
from chainsocks.chain.trip import CONNECT, Abandonment, RequestAbandoned
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.groups import Group
from chainsocks.config.models import Timeouts
from chainsocks.errors import ConnectError
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream

DESTINATION, NAMED = Address("192.0.2.80", 80), Address("example.org", 80)
TIMEOUTS = Timeouts(connect=4, hop=3, dial=9)
PARIS, OSAKA = make_hop(1), make_hop(2)


async def listen(stream: MemoryStream) -> None:
    await trio.sleep_forever()


async def test_a_known_name_is_not_resolved_again(nursery: trio.Nursery) -> None:
    """DNS rebinding: the rules have seen one address, and a second lookup might find another."""
    network = MemoryNetwork(nursery)
    network.names["example.org"] = ["203.0.113.66"]
    network.hosts[DESTINATION] = Host(listen)
    known = {"example.org": (Address("192.0.2.80", 1),)}
    await dialer_of(network, TIMEOUTS).run(DIRECT, open_connection, NAMED, known=known)
    assert [address for _, address in network.connects] == [DESTINATION]


async def test_where_there_is_a_choice_the_limit_of_the_caller_does_not_count(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Each attempt has its own; `handshake` may be shorter than a dial."""
    network = MemoryNetwork(nursery)
    add_hop(network, PARIS, Trouble(CONNECT, Fault.MUTE))
    add_hop(network, OSAKA)
    network.hosts[DESTINATION] = Host(listen)
    with Limit(network, 2) as limit:
        trip, _ = await dialer_of(network, TIMEOUTS).run(
            Chain(Group(PARIS, OSAKA)), open_connection, DESTINATION, limit=limit, close=close_upstream
        )
    assert trip.route.hops == (OSAKA,)
    assert trio.current_time() == 4


async def test_the_only_route_fails_with_its_error(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    with pytest.raises(ConnectError):
        await dialer_of(network, TIMEOUTS).run(Chain(PARIS), open_connection, DESTINATION)


async def test_when_the_client_has_left_no_further_attempt_starts(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network, abandoned = MemoryNetwork(nursery), Abandonment()
    add_hop(network, PARIS, Trouble(State.REQUEST, Fault.MUTE))
    add_hop(network, OSAKA)
    dialer = dialer_of(network, TIMEOUTS)

    async def leave() -> None:
        await trio.sleep(1)
        abandoned.declare(trio.current_time() + 1)

    nursery.start_soon(leave)
    with pytest.raises(RequestAbandoned):
        await dialer.run(Chain(Group(PARIS, OSAKA)), open_connection, DESTINATION, abandoned=abandoned)
    assert trio.current_time() == 2
    assert [address for _, address in network.connects] == [PARIS.address]
    assert not dialer.choices.health.in_backoff(PARIS)
    assert network.left_open == []
