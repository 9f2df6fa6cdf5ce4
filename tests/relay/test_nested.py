"""The way of datagrams through a chain: wrapped for every hop, and back only through all of them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chainsocks.datagrams import Drop, Tunnel
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import encode_header
from chainsocks.relay.lookups import Lookups
from chainsocks.relay.nested import NestedPath
from tests.memory import MemorySocket, MemoryStream, memory_stream_pair
from tests.relay.datagram_paths import Beyond, beyond

PARIS, OSAKA, FAR, NAMED = (
    Address("192.0.2.1", 1000),
    Address("192.0.2.2", 2000),
    Address("192.0.2.53", 53),
    Address("far.example", 53),
)


class Chained:
    """A way through two hops."""

    def __init__(self, nursery: trio.Nursery, *, local: bool = False) -> None:  # noqa: FBT
        self.world: Beyond = beyond(nursery, far_example=FAR.host)
        tally, network = self.world.tally, self.world.network
        self.streams: dict[str, MemoryStream] = {}
        self.hops: dict[str, MemoryStream] = {}
        for name in ("paris", "osaka"):
            self.streams[name], self.hops[name] = memory_stream_pair()
        lookups = Lookups(network.resolve, 5, tally.drops) if local else None
        self.socket = network.open_udp("0.0.0.0")
        self.paris = MemorySocket(network, PARIS.host, PARIS.port)
        self.way = NestedPath(self.socket, Tunnel((PARIS, OSAKA)), self.streams, tally, lookups)

    def send(self, to: Address, payload: bytes = b"hello") -> None:
        header = encode_header(to)
        self.way.send(header + payload, len(header))


async def test_there_and_back(nursery: trio.Nursery) -> None:
    chained = Chained(nursery)
    world = chained.world
    async with world.running(chained.way):
        chained.send(NAMED)
        await wait_all_tasks_blocked()
        chained.paris.send(encode_header(OSAKA) + encode_header(FAR) + b"answer", chained.socket.place)
    assert world.sent == [((PARIS.host, PARIS.port), encode_header(OSAKA) + encode_header(NAMED) + b"hello")]
    assert world.delivered == [(encode_header(FAR) + b"answer", 6)]
    assert world.tally.traffic.up == 5


@pytest.mark.parametrize("local", [False, True])
async def test_an_address_in_brackets_is_sent_as_the_address(local: bool, nursery: trio.Nursery) -> None:  # noqa: FBT001
    chained = Chained(nursery, local=local)
    async with chained.world.running(chained.way):
        for name in (b"[2001:db8::1]", b"[no address"):
            header = b"\0\0\0\x03" + bytes([len(name)]) + name + b"\0\x35"
            chained.way.send(header + b"hello", len(header))
    bare = b"\0\0\0\x04" + bytes.fromhex("20010db8000000000000000000000001") + b"\0\x35"
    there, other = (PARIS.host, PARIS.port), b"\0\0\0\x03\x0b[no address\0\x35"
    sent = [(there, encode_header(OSAKA) + front + b"hello") for front in ((bare,) if local else (bare, other))]
    assert chained.world.sent == sent


async def test_a_dead_first_address_of_a_name_does_not_stick(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    chained = Chained(nursery, local=True)
    world = chained.world
    six = Address("2001:db8::53", 53)
    world.network.names[NAMED.host] = [six.host, FAR.host]
    async with world.running(chained.way):
        for number in range(4):
            chained.send(NAMED, b"%d" % number)
            await trio.sleep(0.3)
            if number == 1:
                chained.paris.send(encode_header(OSAKA) + encode_header(FAR) + b"answer", chained.socket.place)
    front = encode_header(OSAKA)
    expected = [encode_header(six) + b"0", *(encode_header(FAR) + b"%d" % number for number in (1, 2, 3))]
    assert [data for _, data in world.sent] == [front + data for data in expected]


@pytest.mark.parametrize(
    ("data", "dropped"),
    [
        (encode_header(FAR) + b"from a stranger to paris", "1 from strangers"),
        (encode_header(OSAKA), "1 malformed"),
        (b"\0\0\x01" + encode_header(OSAKA)[3:], "1 malformed"),
        (encode_header(OSAKA) + b"\0\0\x01" + encode_header(FAR)[3:], "1 in fragments"),
    ],
)
async def test_what_comes_back_otherwise_is_dropped(data: bytes, dropped: str, nursery: trio.Nursery) -> None:
    chained = Chained(nursery)
    async with chained.world.running(chained.way):
        await wait_all_tasks_blocked()
        chained.paris.send(data, chained.socket.place)
    assert chained.world.delivered == []
    assert str(chained.world.tally.drops) == dropped


async def test_a_datagram_that_the_network_does_not_take_is_counted(nursery: trio.Nursery) -> None:
    chained = Chained(nursery)
    chained.world.network.unroutable = {PARIS.host}
    async with chained.world.running(chained.way):
        chained.send(FAR)
    assert str(chained.world.tally.drops) == "1 not taken by the network"
    assert chained.world.tally.traffic.up == 0


async def test_only_the_first_relay_is_listened_to(nursery: trio.Nursery) -> None:
    chained = Chained(nursery)
    answer = encode_header(OSAKA) + encode_header(FAR) + b"answer"
    async with chained.world.running(chained.way):
        await wait_all_tasks_blocked()
        for host, port in ((PARIS.host, 1001), (OSAKA.host, OSAKA.port), ("192.0.2.66", 1000)):
            MemorySocket(chained.world.network, host, port).send(answer, chained.socket.place)
    assert chained.world.delivered == []
    assert chained.world.tally.drops[Drop.STRANGER] == 3


async def test_names_are_looked_up_where_that_is_wanted(nursery: trio.Nursery) -> None:
    chained = Chained(nursery, local=True)
    async with chained.world.running(chained.way):
        chained.send(NAMED)
        chained.way.send(b"\0\0\0\x03\x00\0\x35", 7)
    assert [data for _, data in chained.world.sent] == [encode_header(OSAKA) + encode_header(FAR) + b"hello"]
    assert chained.world.tally.drops[Drop.MALFORMED] == 1


@pytest.mark.parametrize(("how", "word"), [("aclose", "ended"), ("reset", "reset")])
async def test_the_way_ends_with_any_association(how: str, word: str, nursery: trio.Nursery) -> None:
    chained = Chained(nursery)
    async with chained.world.running(chained.way):
        await chained.hops["osaka"].send(b"hops may say something there")
        await wait_all_tasks_blocked()
        if how == "reset":
            chained.hops["osaka"].reset()
        else:
            await chained.hops["osaka"].aclose()
        await wait_all_tasks_blocked()
        assert chained.world.end == [f"hop osaka {word} its association"]
