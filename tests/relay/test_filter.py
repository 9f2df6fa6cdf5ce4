"""Datagrams that a judge looks at: who passes, in which words, and how often it is asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chainsocks.observe.tally import Drops
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import encode_header
from chainsocks.relay.datagrams import Deliver, Ready
from chainsocks.relay.filter import REMEMBERED, FilteredPath

GOOD, BAD, ODD = Address("192.0.2.1", 53), Address("10.0.0.1", 53), Address("127.1", 53)


class Beyond:
    """A way that remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int]] = []

    def send(self, datagram: bytes, header: int) -> None:
        self.sent.append((datagram, header))

    async def run(self, deliver: Deliver, ready: Ready) -> str:
        ready()
        deliver(b"answer", 6)
        return "over"


def filtered(judge: Callable[[Address], Address | None]) -> tuple[FilteredPath, Beyond, Drops]:
    way, drops = Beyond(), Drops()
    return FilteredPath(way, judge, drops), way, drops


def send(guard: FilteredPath, to: Address, payload: bytes = b"question") -> None:
    header = encode_header(to)
    guard.send(header + payload, len(header))


def test_who_passes_and_in_which_words() -> None:
    asked: list[Address] = []

    def judge(destination: Address) -> Address | None:
        asked.append(destination)
        return {GOOD: GOOD, ODD: Address("127.0.0.1", 53)}.get(destination)

    guard, way, drops = filtered(judge)
    for _ in range(3):
        for to in (GOOD, BAD, ODD):
            send(guard, to)
    spelt_out = encode_header(Address("127.0.0.1", 53))
    assert way.sent == [(encode_header(GOOD) + b"question", 10), (spelt_out + b"question", 10)] * 3
    assert str(drops) == "3 not allowed to go there"
    assert asked == [GOOD, BAD, ODD]


def test_what_is_remembered_is_bounded() -> None:
    guard, way, _ = filtered(lambda destination: destination)
    for port in range(1, 3 * REMEMBERED):
        send(guard, Address("192.0.2.1", port))
        assert len(guard._permitted) <= 2 * REMEMBERED
    assert len(way.sent) == 3 * REMEMBERED - 1


def test_a_header_without_an_address_is_dropped() -> None:
    guard, way, drops = filtered(lambda destination: destination)
    guard.send(b"\0\0\0\x03\x00\x00\x35", 7)
    assert (way.sent, str(drops)) == ([], "1 malformed")


async def test_what_comes_back_is_not_judged() -> None:
    guard, _, _ = filtered(lambda destination: pytest.fail("asked"))
    delivered: list[tuple[bytes, int]] = []
    assert await guard.run(lambda datagram, size: delivered.append((datagram, size)), lambda: None) == "over"
    assert delivered == [(b"answer", 6)]
