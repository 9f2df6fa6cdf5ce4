"""Associations at all hops of a chain: what they are, and what none can be made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.models import Timeouts
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


@pytest.mark.parametrize(
    ("reply", "relay"),
    [
        ("05 00 00 01 c0000209 0fa0", Address("192.0.2.9", 4000)),
        ("05 00 00 01 00000000 0fa0", Address("10.0.0.2", 4000)),
        ("05 00 00 04 00000000000000000000000000000000 0fa0", Address("10.0.0.2", 4000)),
        ("05 00 00 04 00000000000000000000ffffc0000209 0fa0", Address("192.0.2.9", 4000)),
        ("05 00 00 03 09 3139322e302e322e39 0fa0", Address("192.0.2.9", 4000)),
    ],
    ids=["its own", "all zero", "all zero in IPv6", "IPv4 inside IPv6", "in letters"],
)
async def test_where_a_hop_takes_datagrams(reply: str, relay: Address, nursery: trio.Nursery) -> None:
    ours = WatchedNetwork(network_of(nursery, reply))
    association = await associate(Chain(PARIS, OSAKA), Timeouts(), ours)
    assert association.relays[1] == relay
    assert list(association.streams) == ["paris (1 of 2)", "osaka (2 of 2)"]
    assert list(association.streams.values()) == ours.left_open


BAD = {
    "a name": ("05 00 00 03 03 666f6f 0fa0", HopProtocolError, "its relay is at foo:4000: a name", 1),
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
