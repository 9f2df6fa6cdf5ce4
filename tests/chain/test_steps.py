"""The walk of a route, over hops in memory and on the mock clock. All faults of hops are in tests/session."""

from __future__ import annotations

import errno
import logging
import math
from dataclasses import replace

import pytest
import trio

from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.chain.operations import Upstream, open_connection
from chainsocks.chain.trip import CONNECT, OPEN, RESOLVE
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import Resolve
from chainsocks.config.groups import hops_of
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    ConnectError,
    DestinationRefusedHop,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Place,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from tests.dialing import dial
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream

NAMED = Address("example.org", 80)
NUMBERED = Address("192.0.2.80", 80)
SIX = Address("2001:db8::80", 80)


async def banner(stream: MemoryStream) -> None:
    await stream.send(b"220 welcome\r\n")
    await trio.sleep_forever()


def network_of(nursery: trio.Nursery, *hops: Hop, **names: list[str]) -> MemoryNetwork:
    hosts = dict.fromkeys((NAMED, NUMBERED, SIX), Host(banner))
    network = MemoryNetwork(nursery, dict(hosts), {name.replace("_", "."): found for name, found in names.items()})
    for hop in hops:
        add_hop(network, hop)
    return network


async def go(
    network: MemoryNetwork, chain: Chain, destination: Address = NAMED, timeouts: Timeouts | None = None
) -> Upstream:
    return await dial(chain, destination, timeouts or Timeouts(), network)


async def test_direct_to_an_address(nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    upstream = await go(network, DIRECT, NUMBERED)
    assert await upstream.stream.receive() == b"220 welcome\r\n"
    assert [address for _, address in network.connects] == [NUMBERED]


async def test_direct_to_a_name_tries_its_addresses(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    network = network_of(nursery, example_org=["2001:db8::9", "192.0.2.80"])
    await go(network, DIRECT)
    assert [address.host for _, address in network.connects] == ["2001:db8::9", "192.0.2.80"]


async def test_addresses_that_are_found_later_join_the_dial(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    network = network_of(nursery, example_org=["2001:db8::9"])
    network.hosts[Address("2001:db8::9", 80)] = Host()  # never answers
    network.late["example.org"] = 2, ["2001:db8::9", "192.0.2.80"]
    await go(network, DIRECT)
    assert trio.current_time() == 2
    assert [address.host for _, address in network.connects] == ["2001:db8::9", "192.0.2.80"]
    assert network.forgotten == []


async def test_an_address_that_is_found_later_has_to_be_allowed(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    network = network_of(nursery, example_org=["192.0.2.66"])
    network.late["example.org"] = 0.1, ["10.0.0.5", "192.0.2.80"]
    judged = []

    def guard(destination: Address, address: Address, is_hop: bool) -> str | None:  # noqa: FBT001
        judged.append((destination.host, address.host, is_hop))
        return "private" if address.host.startswith("10.") else None

    await Dialer(network, Timeouts(), Choices(Health(network.now))).run(
        DIRECT, open_connection, Address("example.org", 80), guard=guard
    )
    assert [address.host for _, address in network.connects] == ["192.0.2.66", "192.0.2.80"]
    assert ("example.org", "10.0.0.5", False) in judged


@pytest.mark.parametrize("host", [Host(error=errno.ECONNREFUSED), Host()], ids=["refused", "silent"])
@pytest.mark.parametrize("chain", [DIRECT, Chain("socks5://example.org:80")], ids=["destination", "hop"])
async def test_the_addresses_of_a_name_are_forgotten_when_none_can_be_connected_to(
    chain: Chain, host: Host, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    network = network_of(nursery, example_org=["192.0.2.66", "192.0.2.67"])
    network.hosts[Address("192.0.2.67", 80)] = host
    with pytest.raises(ConnectError if host.error else DialTimeout):
        await go(network, chain)
    assert network.forgotten == [Address("example.org", 80)]


@pytest.mark.parametrize("protocol", list(HopProtocol))
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_hops_of_every_kind(count: int, protocol: HopProtocol, nursery: trio.Nursery) -> None:
    hops = [make_hop(number, protocol) for number in range(1, count + 1)]
    network = network_of(nursery, *hops)
    upstream = await go(network, Chain(*hops), NUMBERED)
    assert upstream.trailing_data + await upstream.stream.receive() == b"220 welcome\r\n"
    assert [address for _, address in network.connects] == [*(hop.address for hop in hops), NUMBERED]


async def test_the_last_hop_gets_the_name_unresolved(nursery: trio.Nursery) -> None:
    hops = [make_hop(1), make_hop(2, HopProtocol.SOCKS4A)]
    network = network_of(nursery, *hops)  # knows no name: a local lookup would fail
    await go(network, Chain(*hops))
    assert network.connects[-1][1] == NAMED


async def test_what_trails_the_last_reply_is_handed_on(nursery: trio.Nursery) -> None:
    async def glue(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(b"\x05\x00\x00\x03\x04osak\x04\x38" + b"220 welcome\r\n")
        await trio.sleep_forever()

    hop = make_hop(1)
    network = network_of(nursery)
    network.hosts[hop.address] = Host(glue)
    upstream = await go(network, Chain(hop))
    assert upstream.trailing_data == b"220 welcome\r\n"
    assert upstream.bound == Address("osak", 1080)


async def test_what_trails_a_middle_reply_is_an_error(nursery: trio.Nursery) -> None:
    async def glue(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(b"\x05\x00\x00\x01\0\0\0\0\0\0" + b"\x05\x00")
        await trio.sleep_forever()

    hops = [make_hop(1), make_hop(2)]
    network = network_of(nursery, *hops)
    network.hosts[hops[0].address] = Host(glue)
    with pytest.raises(HopProtocolError, match="2 bytes came behind its reply, unasked") as caught:
        await go(network, Chain(*hops))
    assert caught.value.place.who == "paris (1 of 2)"
    assert network.left_open == []


@pytest.mark.parametrize(
    ("protocol", "resolve", "destination", "says"),
    [
        (HopProtocol.SOCKS4, Resolve.REMOTE, NAMED, 'protocol = "socks4a", or resolve = "local"'),
        (HopProtocol.SOCKS4, Resolve.REMOTE, SIX, "only socks5 and http can"),
        (HopProtocol.SOCKS4A, Resolve.REMOTE, SIX, "only socks5 and http can"),
        (HopProtocol.SOCKS4A, Resolve.LOCAL, SIX, "only socks5 and http can"),
        (HopProtocol.SOCKS4, Resolve.REMOTE, Address("0.0.0.7", 80), "only socks5 and http can"),
    ],
)
async def test_an_address_that_a_hop_cannot_carry_is_refused_before_anything_is_opened(
    protocol: HopProtocol, resolve: Resolve, destination: Address, says: str, nursery: trio.Nursery
) -> None:
    hops = [make_hop(1), replace(make_hop(2, protocol), resolve=resolve)]
    network = network_of(nursery, *hops)
    with pytest.raises(UnsupportedAddress, match=says) as caught:
        await go(network, Chain(*hops), destination)
    assert caught.value.place.who == "osaka (2 of 2)"
    assert caught.value.reply_code == 0x08
    assert network.connects == []


@pytest.mark.parametrize(
    ("protocol", "found", "asked"),
    [
        (HopProtocol.SOCKS4, ["2001:db8::80", "192.0.2.80"], NUMBERED),
        (HopProtocol.SOCKS4A, ["192.0.2.80"], NUMBERED),
        (HopProtocol.SOCKS5, ["2001:db8::80", "192.0.2.80"], SIX),
    ],
)
async def test_local_resolution_is_an_explicit_choice(
    protocol: HopProtocol, found: list[str], asked: Address, nursery: trio.Nursery
) -> None:
    hop = replace(make_hop(1, protocol), resolve=Resolve.LOCAL)
    network = network_of(nursery, hop, example_org=found)
    await go(network, Chain(hop))
    assert network.connects[-1][1] == asked


async def test_a_name_without_an_address_that_socks4_can_carry(nursery: trio.Nursery) -> None:
    hop = replace(make_hop(1, HopProtocol.SOCKS4), resolve=Resolve.LOCAL)
    network = network_of(nursery, hop, example_org=["2001:db8::80"])
    with pytest.raises(UnsupportedAddress, match=r"example\.org:80 has no address that socks4 can carry"):
        await go(network, Chain(hop))
    assert network.left_open == []


HOP_AT_A_NAME = replace(make_hop(1), address=Address("paris.example", 1080))
LOOKING_UP = replace(make_hop(1), resolve=Resolve.LOCAL)


@pytest.mark.parametrize(
    ("chain", "who", "code"),
    [(DIRECT, None, 0x04), (Chain(HOP_AT_A_NAME), "paris (1 of 1)", 0x01), (Chain(LOOKING_UP), "paris (1 of 1)", 0x04)],
    ids=["destination", "first hop", "destination, looked up for a hop"],
)
async def test_a_name_that_does_not_exist(chain: Chain, who: str | None, code: int, nursery: trio.Nursery) -> None:
    network = network_of(nursery, *hops_of(chain.hops))
    with pytest.raises(ConnectError, match=r"name lookup: no address for .*: Name or service not known") as caught:
        await go(network, chain)
    assert (caught.value.place.who, caught.value.place.step) == (who, RESOLVE)
    assert caught.value.reply_code == code
    assert network.left_open == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(errno.ECONNREFUSED, 0x05), (errno.ENETUNREACH, 0x03), (errno.EHOSTUNREACH, 0x04), (errno.ETIMEDOUT, 0x06)],
)
async def test_a_failed_connect_tells_the_truth_about_a_destination_and_is_general_for_a_hop(
    error: int, code: int, nursery: trio.Nursery
) -> None:
    hop = make_hop(1)
    network = MemoryNetwork(nursery, {NUMBERED: Host(error=error), hop.address: Host(error=error)})
    for chain, expected in ((DIRECT, code), (Chain(hop), 0x01)):
        with pytest.raises(ConnectError) as caught:
            await go(network, chain, NUMBERED)
        assert caught.value.reply_code == expected


async def test_each_limit_is_its_own(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    timeouts = Timeouts(resolve=2, connect=3, hop=4, dial=100)
    patient = replace(make_hop(1), timeout=7.5)
    cases: list[tuple[Chain, MemoryNetwork, float, str]] = []
    slow_names = network_of(nursery, example_org=["192.0.2.80"])
    slow_names.resolve_delay = 50
    cases.append((DIRECT, slow_names, 2, RESOLVE))
    cases.append((DIRECT, MemoryNetwork(nursery, {NUMBERED: Host()}, {"example.org": ["192.0.2.80"]}), 3, CONNECT))
    for hop, limit in ((make_hop(1), 4.0), (patient, 7.5)):
        mute = MemoryNetwork(nursery)
        add_hop(mute, hop, Trouble(State.REQUEST, Fault.MUTE))
        cases.append((Chain(hop), mute, limit, State.REQUEST))
    for chain, network, limit, step in cases:
        began = trio.current_time()
        with pytest.raises(DialTimeout) as caught:
            await go(network, chain, timeouts=timeouts)
        assert trio.current_time() - began == limit
        assert (caught.value.elapsed, caught.value.limit, caught.value.place.step) == (limit, limit, step)
        assert caught.value.reply_code == 0x06
        assert network.left_open == []


@pytest.mark.parametrize("own", [None, 5.0], ids=["[timeouts] dial", "the chain's own"])
async def test_the_whole_chain_has_a_limit_too(
    own: float | None, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    hops = [make_hop(number) for number in (1, 2, 3)]
    network = network_of(nursery, *hops)
    for hop in hops:
        network.hosts[hop.address] = replace(network.hosts[hop.address], delay=2)  # each connect takes two seconds
    timeouts = Timeouts(connect=10, hop=10, dial=5 if own is None else 30)
    began = trio.current_time()
    with pytest.raises(DialTimeout, match=r"the time for the whole chain is over \(5.00 s of 5 s\)") as caught:
        await go(network, Chain(*hops, dial=own), timeouts=timeouts)
    assert trio.current_time() - began == 5
    assert caught.value.place == Place("osaka", hops[1].address, State.REQUEST, 2, 3)


async def test_limits_can_be_off(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    hop = make_hop(1)
    network = network_of(nursery, hop)
    network.hosts[NAMED] = Host(banner, delay=86400)
    await go(network, Chain(hop), timeouts=Timeouts(hop=math.inf, dial=math.inf))
    assert trio.current_time() >= 86400


async def test_the_last_hops_own_code_passes_even_if_nobody_knows_it(nursery: trio.Nursery) -> None:
    async def refuse(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(b"\x05\xf4\x00\x01\0\0\0\0\0\0")

    hop = make_hop(1)
    network = MemoryNetwork(nursery, {hop.address: Host(refuse)})
    with pytest.raises(HopRefused, match="onion service wants client authorization") as caught:
        await go(network, Chain(hop))
    assert caught.value.reply_code == 0xF4


async def test_cancelling_closes_what_was_opened(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    hops = [make_hop(1), make_hop(2)]
    network = network_of(nursery, hops[0])
    add_hop(network, hops[1], Trouble(State.METHOD_NEGOTIATION, Fault.MUTE))
    with trio.move_on_after(1):
        await go(network, Chain(*hops))
    assert trio.current_time() == 1
    # Only what we opened ourselves: the rest belongs to the hops.
    assert not [stream for stream in network.left_open if stream.label.startswith(str(hops[0].address))]


async def test_each_step_is_told_as_it_begins(nursery: trio.Nursery) -> None:
    hops = [make_hop(1), make_hop(2, HopProtocol.SOCKS4A)]
    network = network_of(nursery, *hops)
    told: list[tuple[str | None, str]] = []
    await dial(Chain(*hops), NAMED, Timeouts(), network, lambda place, _: told.append((place.who, place.step)))
    assert told == [
        ("paris (1 of 2)", CONNECT),
        ("paris (1 of 2)", State.METHOD_NEGOTIATION),
        ("paris (1 of 2)", State.SUB_NEGOTIATION),
        ("paris (1 of 2)", State.REQUEST),
        ("osaka (2 of 2)", State.REQUEST),
        (None, OPEN),
    ]


async def test_the_debug_log_follows_the_wire_and_keeps_the_password(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "chainsocks.dial")
    hop = make_hop(1)
    await go(network_of(nursery, hop), Chain(hop))
    lines = [record.getMessage() for record in caplog.records]
    assert "= hop paris (1 of 1) at 10.0.0.1:1080, method negotiation" in lines
    assert "> paris 4 bytes" in lines
    assert "< paris 2 bytes" in lines
    assert not any("pw" in line for line in lines)


@pytest.mark.parametrize(
    ("step", "fault", "kind"),
    [
        (CONNECT, Fault.REFUSAL, ConnectError),
        (State.METHOD_NEGOTIATION, Fault.GARBAGE, HopProtocolError),
        (State.METHOD_NEGOTIATION, Fault.REFUSAL, HopAuthenticationError),
        (State.SUB_NEGOTIATION, Fault.REFUSAL, HopAuthenticationError),
        (State.SUB_NEGOTIATION, Fault.RESET, HopProtocolError),
        (State.REQUEST, Fault.FIN, HopProtocolError),
        (State.REQUEST, Fault.REFUSAL, DestinationRefusedHop),
    ],
)
@pytest.mark.parametrize("position", [1, 2])
async def test_each_cause_has_its_own_exception(
    position: int, step: str, fault: Fault, kind: type[DialError], nursery: trio.Nursery
) -> None:
    hops = [make_hop(1), make_hop(2)]
    network = network_of(nursery, *hops)
    add_hop(network, hops[position - 1], Trouble(step, fault))
    if position == 2 and step == CONNECT:
        kind = HopRefused  # it is the first hop that could not connect
    elif position == 1 and step == State.REQUEST and fault is Fault.REFUSAL:
        kind = HopRefused  # of the next hop, not of the destination
    with pytest.raises(kind) as caught:
        await go(network, Chain(*hops))
    assert type(caught.value) is kind
    if position == 2 and kind is HopProtocolError:
        assert "as seen through paris" in caught.value.problem
