"""Where a dial leaves this machine from: what its sockets are told, and which addresses they are for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Resolve
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.egress import Egress, Family
from chainsocks.errors import Cause, ConnectError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command
from tests.dialing import bind, dial, resolve
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream

NAME, FOUR, SIX = (Address(host, 80) for host in ("example.org", "192.0.2.80", "2001:db8::80"))
FROM_FOUR, FROM_SIX = Address("198.51.100.1", 0), Address("2001:db8:1::1", 0)
OWN = Egress((FROM_FOUR, FROM_SIX), "eth0", 7)


async def quiet(stream: MemoryStream) -> None:
    await trio.sleep_forever()


@pytest.fixture
def network(nursery: trio.Nursery) -> MemoryNetwork:
    names = {"example.org": ["2001:db8::80", "192.0.2.80"]}
    return MemoryNetwork(nursery, dict.fromkeys((NAME, FOUR, SIX), Host(quiet)), names)


def direct(family: Family | None = None, **keys: object) -> Chain:
    return Chain(name="direct", family=family, **keys)  # type: ignore[arg-type]


async def go(network: MemoryNetwork, chain: Chain, destination: Address = NAME) -> None:
    await dial(chain, destination, Timeouts(), network)


@pytest.mark.parametrize("destination", [FOUR, SIX, NAME], ids=str)
async def test_a_direct_way_leaves_as_it_says(destination: Address, network: MemoryNetwork) -> None:
    await go(network, direct(source=OWN.source, interface="eth0", mark=7), destination)
    assert set(network.egresses.values()) == {OWN}


async def test_the_first_hop_leaves_as_it_says_and_later_ones_do_not_matter(network: MemoryNetwork) -> None:
    paris, osaka = replace(make_hop(1), mark=7), replace(make_hop(2), mark=8)
    for hop in (paris, osaka):
        add_hop(network, hop)
    await go(network, Chain(paris, osaka))
    assert network.egresses == {paris.address: Egress(mark=7), osaka.address: None, NAME: None}


@pytest.mark.parametrize(
    ("family", "tried"),
    [
        (None, [SIX, FOUR]),
        (Family.PREFER_IPV4, [FOUR]),
        (Family.PREFER_IPV6, [SIX, FOUR]),
        (Family.IPV4, [FOUR]),
    ],
)
async def test_the_family_chooses_among_the_addresses_of_a_name(
    family: Family | None, tried: list[Address], network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    network.hosts[SIX] = Host()  # never answers
    await go(network, direct(family))
    assert [address for _, address in network.connects] == tried


@pytest.mark.parametrize("family", [Family.IPV6, Family.PREFER_IPV6])
async def test_the_family_of_a_hop_comes_before_that_of_the_chain(
    family: Family, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    network.hosts[Address("192.0.2.80", 1080)] = network.hosts[Address("2001:db8::80", 1080)] = Host(quiet)
    hop = replace(make_hop(1), address=Address("example.org", 1080), family=family, timeout=0.1)
    with pytest.raises(TimeoutError):
        await go(network, Chain(hop, family=Family.IPV4))
    assert [address.host for _, address in network.connects] == ["2001:db8::80"]


async def test_addresses_of_the_family_may_come_late(
    network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    network.names["example.org"] = ["192.0.2.80"]
    network.late["example.org"] = 2, ["192.0.2.80", "2001:db8::80"]
    await go(network, direct(Family.IPV6))
    assert [address for _, address in network.connects] == [SIX]
    assert trio.current_time() >= 2


@pytest.mark.parametrize(
    ("chain", "destination", "cause", "code", "says"),
    [
        (direct(Family.IPV4), SIX, Cause.NO_ADDRESS_FAMILY, 8, '2001:db8::80 is not of the family "ipv4"'),
        (direct(source="198.51.100.1"), SIX, Cause.NO_LOCAL_PORT, 1, "source 198.51.100.1: of another family than"),
    ],
)
async def test_an_address_of_another_family_is_not_connected_to(
    chain: Chain, destination: Address, cause: Cause, code: int, says: str, network: MemoryNetwork
) -> None:
    with pytest.raises(ConnectError, match=says) as caught:
        await go(network, chain, destination)
    assert (caught.value.cause, caught.value.reply_code) == (cause, code)
    assert network.connects == []


async def test_a_name_without_an_address_of_the_family(network: MemoryNetwork) -> None:
    network.names["example.org"] = ["192.0.2.80"]
    with pytest.raises(ConnectError, match=r'no address for example\.org: it has none of the family "ipv6"') as caught:
        await go(network, direct(Family.IPV6))
    assert caught.value.reply_code == 4


async def test_with_one_source_the_addresses_of_the_other_family_are_passed_over(network: MemoryNetwork) -> None:
    await go(network, direct(source="198.51.100.1"))
    assert [address for _, address in network.connects] == [FOUR]


@pytest.mark.parametrize(("family", "asked"), [(Family.IPV4, FOUR), (Family.PREFER_IPV6, SIX), (None, SIX)])
async def test_the_family_of_a_chain_is_for_targets_that_are_resolved_here(
    family: Family | None, asked: Address, network: MemoryNetwork
) -> None:
    hop = replace(make_hop(1, HopProtocol.SOCKS5), resolve=Resolve.LOCAL)
    add_hop(network, hop)
    await go(network, Chain(hop, family=family))
    assert network.connects[-1][1] == asked


@pytest.mark.parametrize(
    ("family", "found"), [(None, FOUR), (Family.PREFER_IPV6, SIX), (Family.IPV6, SIX), (Family.IPV4, FOUR)]
)
async def test_look_ups_for_clients_have_the_family_of_the_chain(
    family: Family | None, found: Address, network: MemoryNetwork
) -> None:
    answer = await resolve(direct(family), NAME, Timeouts(), network, Command.RESOLVE)
    assert answer.host == found.host


@pytest.mark.parametrize(
    ("source", "peer", "host"),
    [
        ("2001:db8:1::1", "example.org", "2001:db8:1::1"),
        ("198.51.100.1", "192.0.2.80", "198.51.100.1"),
        ("198.51.100.1", "0.0.0.0", "198.51.100.1"),
    ],
)
async def test_a_port_is_opened_at_the_source(source: str, peer: str, host: str, network: MemoryNetwork) -> None:
    family = Family.IPV6 if ":" in source else None
    bound = await bind(direct(family, source=source), Address(peer, 0), Timeouts(), network)
    assert bound.address.host == host
    assert network.listeners[0].address.host == host
    await bound.aclose()


async def test_no_port_is_opened_at_a_source_of_another_family(network: MemoryNetwork) -> None:
    with pytest.raises(ConnectError, match=r"source 198\.51\.100\.1: of another family than 2001:db8::80, at"):
        await bind(direct(source="198.51.100.1"), SIX, Timeouts(), network)
    assert network.listeners == []
