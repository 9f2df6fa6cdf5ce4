"""The picture of a chain: who is marked, and where the way is cut."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.groups import Group
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.picture import ASCII, SIGNS, picture
from chainsocks.tools.probe.walk import walk
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.memory import Host, MemoryNetwork
from tests.tools.probe.probing import probed_of, say_nothing

METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
DESTINATION = Address("example.org", 80)

DRAWN = [
    (1, Trouble(CONNECT, Fault.REFUSAL), "here ──✗ [✗ paris] ··> osaka ··> lima ··> example.org:80"),
    (1, Trouble(METHOD, Fault.GARBAGE), "here ──> [✗ paris] ··> osaka ··> lima ··> example.org:80"),
    (1, Trouble(REQUEST, Fault.MUTE), "here ──> paris ──✗ osaka ··> lima ··> example.org:80"),
    (2, Trouble(CONNECT, Fault.REFUSAL), "here ──> paris ──✗ osaka ··> lima ··> example.org:80"),
    (2, Trouble(LOGIN, Fault.REFUSAL), "here ──> paris ──> [✗ osaka] ··> lima ··> example.org:80"),
    (2, Trouble(REQUEST, Fault.FIN), "here ──> paris ──> [✗ osaka] ··> lima ··> example.org:80"),
    (3, Trouble(METHOD, Fault.MUTE), "here ──> paris ──> osaka ──> [✗ lima] ··> example.org:80"),
    (3, Trouble(REQUEST, Fault.REFUSAL), "here ──> paris ──> osaka ──> lima ──✗ example.org:80"),
    (3, None, "here ──> paris ──> osaka ──> lima ──> example.org:80"),
]


@pytest.mark.parametrize(("position", "trouble", "drawn"), DRAWN)
async def test_a_chain(
    position: int, trouble: Trouble | None, drawn: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery, {DESTINATION: Host(say_nothing)})
    for number in (1, 2, 3):
        add_hop(network, make_hop(number), trouble if number == position else None)
    walked = await walk(way_of(Chain(*map(make_hop, (1, 2, 3)))), DESTINATION, dialer_of(network, Timeouts()))
    assert picture(walked, SIGNS).plain == drawn
    ascii_only = drawn.replace("──>", "-->").replace("──✗", "--X").replace("··>", "..>").replace("✗", "X")
    assert picture(walked, ASCII).plain == ascii_only
    assert ascii_only.isascii()


P, O, L = map(make_hop, (1, 2, 3))  # noqa: E741  (paris, osaka, lima)
REFUSAL, GARBAGE = Trouble(CONNECT, Fault.REFUSAL), Trouble(METHOD, Fault.GARBAGE)
EXITS, ENTRIES = Group(O, L, name="exits"), Group(P, O, name="entries")

WITH_GROUPS: list[tuple[Chain, dict[str, Trouble], str]] = [
    (Chain(P, EXITS), {}, "here ──> paris ──> (osaka | lima) ──> example.org:80"),
    (Chain(P, EXITS), {"osaka": REFUSAL}, "here ──> paris ──> ([✗ osaka] | lima) ──> example.org:80"),
    (Chain(P, EXITS), {"lima": GARBAGE}, "here ──> paris ──> (osaka | [✗ lima]) ──> example.org:80"),
    (
        Chain(P, EXITS),
        dict.fromkeys(("osaka", "lima"), REFUSAL),
        "here ──> paris ──✗ (osaka | lima) ··> example.org:80",
    ),
    (
        Chain(P, EXITS),
        dict.fromkeys(("osaka", "lima"), GARBAGE),
        "here ──> paris ──> ([✗ osaka] | [✗ lima]) ··> example.org:80",
    ),
    (Chain(P, EXITS), {"paris": REFUSAL}, "here ──✗ [✗ paris] ··> (osaka | lima) ··> example.org:80"),
    (Chain(ENTRIES, L), {"paris": REFUSAL}, "here ──> ([✗ paris] | osaka) ──> lima ──> example.org:80"),
    (Chain(ENTRIES, L), {"lima": REFUSAL}, "here ──> (paris | osaka) ──✗ lima ··> example.org:80"),
    (Chain(P, O, L, skip_dead=True), {"paris": REFUSAL}, "here ··> [✗ paris] ──> osaka ──> lima ──> example.org:80"),
    (Chain(P, O, skip_dead=True, length=1), {}, "here ──> paris ··> (osaka) ──> example.org:80"),
]


@pytest.mark.parametrize(("chain", "troubles", "drawn"), WITH_GROUPS)
async def test_a_chain_with_a_choice(
    chain: Chain, troubles: dict[str, Trouble], drawn: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    report = await probed_of(nursery, troubles, chain)
    assert picture(report.walk, SIGNS, report.members).plain == drawn


async def test_without_a_destination_it_ends_with_the_last_hop(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    add_hop(network, make_hop(1))
    walked = await walk(way_of(Chain(make_hop(1))), None, dialer_of(network, Timeouts()))
    assert picture(walked, SIGNS).plain == "here ──> paris"


@pytest.mark.parametrize(
    ("host", "drawn"), [(Host(), "here ──✗ [✗ example.org:80]"), (None, "here ──> example.org:80")]
)
async def test_without_hops(host: Host | None, drawn: str, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    address = Address("10.0.0.80", 80)
    network = MemoryNetwork(nursery, {address: host or Host(say_nothing)}, {"example.org": ["10.0.0.80"]})
    walked = await walk(way_of(DIRECT), DESTINATION, dialer_of(network, Timeouts()))
    assert picture(walked, SIGNS).plain == drawn


async def test_a_name_that_is_not_found(nursery: trio.Nursery) -> None:
    walked = await walk(way_of(DIRECT), DESTINATION, dialer_of(MemoryNetwork(nursery), Timeouts()))
    assert picture(walked, SIGNS).plain == "here ──✗ [✗ example.org:80]"


async def test_a_chain_that_cannot_be(nursery: trio.Nursery) -> None:
    route = way_of(Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4)))
    walked = await walk(route, DESTINATION, dialer_of(MemoryNetwork(nursery), Timeouts()))
    assert picture(walked, SIGNS).plain == "here ··> paris ··> [✗ osaka] ··> example.org:80"
