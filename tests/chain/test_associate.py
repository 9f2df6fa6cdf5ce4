"""Associations at all hops of a chain: what they are, and what none can be made of."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.choices import UdpRelay
from chainsocks.config.models import Timeouts
from chainsocks.datagrams import Recent
from chainsocks.egress import Egress
from chainsocks.errors import DialError, DialTimeout, HopProtocolError, HopRefused
from chainsocks.protocol.address import Address
from tests.dialing import associate
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork

PARIS, OSAKA = make_hop(1), make_hop(2)


def replying(reply: str) -> Host:
    """A hop that says this to any request."""

    async def serve(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(bytes.fromhex(reply))
        await trio.sleep_forever()

    return Host(serve)


def network_of(nursery: trio.Nursery, last: str) -> MemoryNetwork:
    """The last of two hops says what it is told to."""
    network = MemoryNetwork(nursery)
    add_hop(network, PARIS)
    network.hosts[OSAKA.address] = replying(last)
    return network


REPLIES = {
    "another's": ("05 00 00 01 c0000209 0fa0", "192.0.2.9"),
    "its own": ("05 00 00 01 0a000002 0fa0", "10.0.0.2"),
    "all zero": ("05 00 00 01 00000000 0fa0", "10.0.0.2"),
    "all zero in IPv6": ("05 00 00 04 00000000000000000000000000000000 0fa0", "10.0.0.2"),
    "an empty name": ("05 00 00 03 00 0fa0", "10.0.0.2"),
    "IPv4 inside IPv6": ("05 00 00 04 00000000000000000000ffffc0000209 0fa0", "192.0.2.9"),
    "in letters": ("05 00 00 03 09 3139322e302e322e39 0fa0", "192.0.2.9"),
    "a container's": ("05 00 00 01 ac110002 0fa0", "172.17.0.2"),
}
"""What a hop at 10.0.0.2 reports, and the host that this says."""


@pytest.mark.parametrize("position", [1, 2])
@pytest.mark.parametrize(
    ("udp_relay", "expected"),
    [
        (UdpRelay.HOP, Address("10.0.0.2", 4000)),
        (UdpRelay.REPORTED, None),
        (Address("198.51.100.7", 0), Address("198.51.100.7", 4000)),
        (Address("198.51.100.7", 5000), Address("198.51.100.7", 5000)),
    ],
    ids=["hop", "reported", "an address", "address and port"],
)
@pytest.mark.parametrize(("reply", "reported"), REPLIES.values(), ids=REPLIES.keys())
async def test_where_a_hop_takes_datagrams(
    reply: str,
    reported: str,
    udp_relay: UdpRelay | Address,
    expected: Address | None,
    position: int,
    nursery: trio.Nursery,
) -> None:
    ours = WatchedNetwork(network_of(nursery, reply))
    osaka = replace(OSAKA, udp_relay=udp_relay)
    association = await associate(Chain(PARIS, osaka) if position == 2 else Chain(osaka), Timeouts(), ours)
    assert association.relays[-1] == (expected or Address(reported, 4000))
    assert list(association.streams) == (["paris (1 of 2)", "osaka (2 of 2)"] if position == 2 else ["osaka (1 of 1)"])
    assert list(association.streams.values()) == ours.left_open


@pytest.mark.parametrize(
    ("reply", "udp_relay", "warned"),
    [
        ("05 00 00 01 c0000209 0fa0", UdpRelay.HOP, "192.0.2.9:4000"),
        ("05 00 00 04 20010db8000000000000000000000009 0fa0", UdpRelay.HOP, "[2001:db8::9]:4000"),
        ("05 00 00 03 03 666f6f 0fa0", UdpRelay.HOP, "foo:4000"),
        ("05 00 00 01 c0000209 0fa0", UdpRelay.REPORTED, None),
        ("05 00 00 01 c0000209 0fa0", Address("198.51.100.7", 0), None),
        ("05 00 00 01 0a000002 0fa0", UdpRelay.HOP, None),
        ("05 00 00 04 00000000000000000000ffff0a000002 0fa0", UdpRelay.HOP, None),
        ("05 00 00 01 00000000 0fa0", UdpRelay.HOP, None),
        ("05 00 00 01 ac110002 0fa0", UdpRelay.HOP, None),
        ("05 00 00 01 7f000001 0fa0", UdpRelay.HOP, None),
        ("05 00 00 04 fd000000000000000000000000000001 0fa0", UdpRelay.HOP, None),
    ],
)
async def test_a_public_host_that_is_not_used_is_warned_of_once(
    reply: str,
    udp_relay: UdpRelay | Address,
    warned: str | None,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chainsocks.chain.associate._warned", Recent(4))
    ours = WatchedNetwork(network_of(nursery, reply))
    for _ in range(3):
        await associate(Chain(PARIS, replace(OSAKA, udp_relay=udp_relay)), Timeouts(), ours)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"hop osaka reports {warned} for its datagrams, and gets them at its own host, 10.0.0.2:4000; "
        'udp_relay = "reported" sends them where it reports, udp_relay = ADDRESS to another place'
    ] * (warned is not None)


class KnowingPeers(WatchedNetwork):
    """A network whose connections know where they lead to."""

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> MemoryStream:
        stream = await super().open_tcp(address, egress)
        stream.ends = (self.host, 50_000), (address.host, address.port)
        return stream


async def test_a_hop_that_is_known_by_a_name_takes_datagrams_where_it_was_connected_to(nursery: trio.Nursery) -> None:
    ours = KnowingPeers(network_of(nursery, "05 00 00 01 c0000209 0fa0"))
    ours.names["osaka.example"] = ["10.0.0.2"]
    named = replace(OSAKA, address=Address("osaka.example", OSAKA.address.port))
    assert (await associate(Chain(named), Timeouts(), ours)).relays == (Address("10.0.0.2", 4000),)


async def test_the_host_of_a_name_behind_another_hop_has_to_be_configured(nursery: trio.Nursery) -> None:
    network = network_of(nursery, "05 00 00 01 c0000209 0fa0")
    named = replace(OSAKA, address=Address("osaka.example", OSAKA.address.port))
    network.hosts[named.address] = network.hosts[OSAKA.address]
    with pytest.raises(HopProtocolError, match=r"its relay is at osaka\.example:4000: a name, .*; set its udp_relay"):
        await associate(Chain(PARIS, named), Timeouts(), WatchedNetwork(network))
    named = replace(named, udp_relay=UdpRelay.REPORTED)
    association = await associate(Chain(PARIS, named), Timeouts(), WatchedNetwork(network))
    assert association.relays[1] == Address("192.0.2.9", 4000)


BAD = {
    "no port": ("05 00 00 01 00000000 0000", HopProtocolError, "its relay has no port", 1),
    "more behind it": ("05 00 00 01 00000000 0fa0 00", HopProtocolError, "1 bytes came behind its reply, unasked", 1),
    "refused": ("05 07 00 01 00000000 0000", HopRefused, "it refused UDP_ASSOCIATE: command not supported", 7),
}


@pytest.mark.parametrize(("reply", "kind", "says", "code"), BAD.values(), ids=BAD.keys())
async def test_what_no_association_can_be_made_of(
    reply: str, kind: type[DialError], says: str, code: int, nursery: trio.Nursery
) -> None:
    ours = WatchedNetwork(network_of(nursery, reply))
    with pytest.raises(kind, match=says) as caught:
        await associate(Chain(PARIS, OSAKA), Timeouts(), ours)
    assert caught.value.place.who == "osaka (2 of 2)"
    assert caught.value.reply_code == code
    assert ours.left_open == []


async def test_a_reported_name_is_no_relay(nursery: trio.Nursery) -> None:
    ours = WatchedNetwork(network_of(nursery, "05 00 00 03 03 666f6f 0fa0"))
    with pytest.raises(HopProtocolError, match="its relay is at foo:4000: a name"):
        await associate(Chain(PARIS, replace(OSAKA, udp_relay=UdpRelay.REPORTED)), Timeouts(), ours)
    assert ours.left_open == []


async def test_all_of_it_has_one_limit(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """Each connect takes two seconds: paris alone, then paris again, on the way to osaka."""
    ours = WatchedNetwork(network_of(nursery, "05 00 00 01 00000000 0fa0"))
    for hop in (PARIS, OSAKA):
        ours.hosts[hop.address] = replace(ours.hosts[hop.address], delay=2)
    with pytest.raises(DialTimeout, match=r"the time for the whole chain is over \(5.00 s of 5 s\)") as caught:
        await associate(Chain(PARIS, OSAKA), Timeouts(dial=5), ours)
    assert trio.current_time() == 5
    assert caught.value.place.who == "paris (1 of 2)"
    assert ours.left_open == []
