"""A network on which one name has the addresses that were seen, and all else is as it was."""

from __future__ import annotations

import trio

from chainsocks.protocol.address import Address
from chainsocks.session.pinned import PinnedNetwork
from tests.memory import Host, MemoryNetwork


async def test_one_name_is_known_and_others_are_looked_up() -> None:
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, names={"a.example": ["10.0.0.1"], "b.example": ["10.0.0.2"]})
        pinned = PinnedNetwork(
            network, Address("a.example", 80), [Address("192.0.2.1", 80), Address("2001:db8::1", 80)]
        )
        assert await pinned.resolve(Address("a.example", 0)) == [Address("192.0.2.1", 0), Address("2001:db8::1", 0)]
        assert await pinned.resolve(Address("b.example", 7)) == [Address("10.0.0.2", 7)]


async def test_all_else_is_the_networks(autojump_clock: trio.testing.MockClock) -> None:
    async def stay(stream: object) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        destination = Address("192.0.2.1", 80)
        network = MemoryNetwork(nursery, {destination: Host(stay)})
        pinned = PinnedNetwork(network, Address("a.example", 80), ())
        await (await pinned.open_tcp(destination)).aclose()
        listener = await pinned.listen(pinned.own_address(Address("192.0.2.1", 0)))
        assert listener.address.host == network.own[0]
        await listener.aclose()
        with pinned.open_scope(pinned.now() + 5) as scope:
            await trio.sleep(10)
        assert scope.cancelled_caught
        assert pinned.now() == 5
        assert network.left_open == []
        nursery.cancel_scope.cancel()
