"""Associations at all hops of a chain: what they are, and what none can be made of."""

from __future__ import annotations

import pytest
import trio

from chainsocks.chain.associate import Association, AssociationWalk
from chainsocks.config.hops import Chain, Hop
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, HopProtocolError, HopRefused
from chainsocks.protocol.address import UNSPECIFIED, Address
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


async def associate(network: MemoryNetwork, *hops: Hop) -> Association:
    walk = AssociationWalk(Chain(*hops), UNSPECIFIED, Timeouts(), network)
    with network.open_scope(float("inf")) as scope:
        return await walk.associate(scope)
    raise AssertionError


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
    association = await associate(ours, PARIS, OSAKA)
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
        await associate(ours, PARIS, OSAKA)
    assert caught.value.place.hop == "osaka (2 of 2)"
    assert caught.value.reply_code == code
    assert ours.left_open == []
