"""Lookups for datagrams: bounded in number, in time, and in what waits for them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from chainsocks.datagrams import Candidates, Drop
from chainsocks.observe.tally import Drops
from chainsocks.protocol.address import Address
from chainsocks.relay import lookups
from chainsocks.relay.lookups import Lookups

NAME = Address("far.example", 53)


class Names:
    """A resolver that takes a second."""

    def __init__(self) -> None:
        self.asked: list[Address] = []
        self.found: list[tuple[Candidates, Sequence[bytes]]] = []
        self.drops = Drops()
        self.lookups = Lookups(self.resolve, 5, self.drops)

    async def resolve(self, name: Address) -> list[Address]:
        self.asked.append(name)
        if name.host == "no.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        if name.host == "slow.example":
            await trio.sleep(100)
        await trio.sleep(1)
        return [] if name.host == "empty.example" else [Address("::ffff:192.0.2.53", name.port)]

    def wait(self, name: Address, datagram: bytes, nursery: trio.Nursery) -> None:
        self.lookups.wait(name, datagram, lambda *found: self.found.append(found), nursery.start_soon)


async def test_a_name_is_looked_up_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    names = Names()
    for datagram in (b"one", b"two"):
        names.wait(NAME, datagram, nursery)
    assert names.found == []
    await trio.sleep(2)
    names.wait(NAME, b"three", nursery)
    assert names.asked == [NAME]
    there = Address("192.0.2.53", 53)
    assert [(found.addresses, list(waited)) for found, waited in names.found] == [
        ([there], [b"one", b"two"]),
        ([there], [b"three"]),
    ]
    assert str(names.drops) == ""


@pytest.mark.parametrize(("host", "seconds"), [("no.example", 0), ("empty.example", 1), ("slow.example", 5)])
async def test_a_name_without_an_address(
    host: str, seconds: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    names = Names()
    for _ in range(3):
        names.wait(Address(host, 53), b"x", nursery)
    await trio.sleep(seconds + 0.5)
    assert names.found == []
    assert names.drops[Drop.NO_ADDRESS] == 3
    names.wait(Address(host, 53), b"x", nursery)
    await trio.sleep(0.1)
    assert len(names.asked) == 2  # it may have one by now


async def test_so_many_and_no_more(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    names = Names()
    for number in range(lookups.NAMES + 1):
        names.wait(Address(f"{number}.example", 53), b"x", nursery)
    assert names.drops[Drop.OVERFLOW] == 1
    for _ in range(lookups.WAITING):
        names.wait(Address("0.example", 53), b"x", nursery)
    assert names.drops[Drop.OVERFLOW] == 2
    await trio.sleep(2)
    assert len(names.found) == lookups.NAMES


async def test_names_that_were_not_used_for_long_are_forgotten(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "REMEMBERED", 2)
    names = Names()
    for host in "abcdecba":
        names.wait(Address(f"{host}.example", 53), b"x", nursery)
        await trio.sleep(2)
    assert [name.host[0] for name in names.asked] == [*"abcde", *"ba"]
