"""A stream in capsules. That it carries a relay like any other stream does is shown in tests/relay (`WAYS`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import SocketAttribute
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import assert_checkpoints

from chainsocks.errors import GssError
from chainsocks.gss.stream import CAPSULE, EncapsulatedStream
from chainsocks.protocol.gssapi import HEADER, MAX_TOKEN, MessageType, Protection, encode_message
from tests.mechanism import OVERHEAD, FakeAcceptor, FakeInitiator, agreed
from tests.memory import MemoryStream, memory_stream_pair

LEVELS = pytest.mark.parametrize("protection", [Protection.INTEGRITY, Protection.CONFIDENTIALITY], ids=str)
Peers = tuple[EncapsulatedStream, FakeInitiator, MemoryStream]


def open_one(protection: Protection = Protection.INTEGRITY, early: bytes = b"") -> Peers:
    """A stream, the context of its peer, and the far end of what is below."""
    near, far = memory_stream_pair()
    one, other = agreed()
    return EncapsulatedStream(near, other, protection, early), one, far


def capsule(context: FakeInitiator, data: bytes, protection: Protection = Protection.INTEGRITY) -> bytes:
    return encode_message(MessageType.DATA, context.wrap(data, protection))


async def expect_broken(stream: EncapsulatedStream, problem: str) -> None:
    for _ in range(2):  # once and for all
        with pytest.raises(BrokenResourceError, match=problem):
            await stream.receive()
    assert stream.problem is not None
    assert problem in stream.problem


@LEVELS
async def test_both_ways(protection: Protection) -> None:
    near, far = memory_stream_pair()
    one, other = agreed()
    ours, theirs = EncapsulatedStream(near, one, protection), EncapsulatedStream(far, other, protection)
    await ours.send(b"hello")
    assert await theirs.receive() == b"hello"
    await theirs.send(b"hello yourself")
    assert await ours.receive(5) == b"hello"
    assert await ours.receive() == b" yourself"
    await ours.send_eof()
    with pytest.raises(EndOfStream):
        await theirs.receive()
    await theirs.send(b"still here")
    assert await ours.receive() == b"still here"
    await theirs.aclose()
    with pytest.raises(EndOfStream):
        await ours.receive()
    assert ours.problem is None


@LEVELS
async def test_what_is_on_the_wire(protection: Protection) -> None:
    stream, _, far = open_one(protection)
    await stream.send(b"hello")
    [level, *rest] = (await far.receive())[HEADER:]
    assert level == protection
    assert (b"hello" in bytes(rest)) is (protection is Protection.INTEGRITY)


async def test_large_items_go_in_several_capsules_and_an_empty_one_in_none() -> None:
    near, far = memory_stream_pair(capacity=10 * CAPSULE)
    stream = EncapsulatedStream(near, agreed()[0], Protection.INTEGRITY)
    await stream.send(b"")
    await stream.send(bytes(2 * CAPSULE + 1))
    assert len(await far.receive(10 * CAPSULE)) == 2 * CAPSULE + 1 + 3 * (HEADER + OVERHEAD)


async def test_capsules_in_any_pieces_and_several_at_once() -> None:
    stream, peer, far = open_one()
    for byte in capsule(peer, b"drip"):
        await far.send(bytes((byte,)))
    assert await stream.receive() == b"drip"
    await far.send(capsule(peer, b"one") + capsule(peer, b"") + capsule(peer, b"two") + capsule(peer, b"three")[:-1])
    assert await stream.receive() == b"one"
    with assert_checkpoints():
        assert await stream.receive() == b"two"
    with trio.move_on_after(0.01) as scope:
        await stream.receive()
    assert scope.cancelled_caught


async def test_the_longest_capsule() -> None:
    stream, peer, far = open_one()
    data = bytes(MAX_TOKEN - OVERHEAD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send, capsule(peer, data))
        assert await stream.receive(100_000) == data


async def test_what_came_early_comes_first() -> None:
    one, _ = agreed()
    stream, _, far = open_one(early=capsule(one, b"early"))
    assert await stream.receive() == b"early"
    await far.send(capsule(one, b"late"))
    assert await stream.receive() == b"late"


async def test_a_peer_that_does_not_read_makes_us_wait() -> None:
    near, far = memory_stream_pair(capacity=CAPSULE)
    stream = EncapsulatedStream(near, agreed()[0], Protection.INTEGRITY)
    with trio.move_on_after(0.01) as scope:
        await stream.send(bytes(100 * CAPSULE))
    assert scope.cancelled_caught
    assert len(far.incoming.buffer) == CAPSULE


@pytest.mark.parametrize("size", [1, 3, 4, 5, -1], ids=lambda size: f"after {size}")
async def test_an_end_within_a_capsule_is_no_end(size: int) -> None:
    stream, peer, far = open_one()
    await far.send(capsule(peer, b"whole") + capsule(peer, b"cut")[:size])
    await far.send_eof()
    assert await stream.receive() == b"whole"
    await expect_broken(stream, "the stream ended in the middle of a capsule")


def changed(place: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        index = place % len(data)
        return data[:index] + bytes((data[index] ^ 1,)) + data[index + 1 :]

    return change


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        pytest.param(changed(0), "version 0", id="version"),
        pytest.param(changed(1), "has type 2; expected encapsulated data", id="type"),
        pytest.param(lambda _: b"\x01\xff", "abort", id="abort"),
        pytest.param(changed(-1), "changed", id="sum"),
        pytest.param(changed(-5), "changed", id="data"),
        pytest.param(lambda data: data + data, "out of turn", id="repeated"),
        pytest.param(lambda _: b"\x01\x03\0\0", "changed", id="no token"),
        pytest.param(lambda _: b"GET / HTTP/1.1", "version 71", id="in the clear"),
    ],
)
async def test_tampering_breaks_the_stream(tamper: Callable[[bytes], bytes], problem: str) -> None:
    stream, peer, far = open_one()
    await far.send(tamper(capsule(peer, b"data")))
    await far.send_eof()
    if problem == "out of turn":
        assert await stream.receive() == b"data"
    await expect_broken(stream, problem)


async def test_less_protection_than_agreed_breaks_the_stream_and_more_does_not() -> None:
    stream, peer, far = open_one(Protection.CONFIDENTIALITY)
    await far.send(capsule(peer, b"hidden", Protection.CONFIDENTIALITY))
    assert await stream.receive() == b"hidden"
    await far.send(capsule(peer, b"bare", Protection.INTEGRITY))
    await expect_broken(stream, "less protected")
    stream, peer, far = open_one(Protection.INTEGRITY)
    await far.send(capsule(peer, b"hidden", Protection.CONFIDENTIALITY))
    assert await stream.receive() == b"hidden"


async def test_a_reset_below_is_no_fault_of_a_capsule() -> None:
    stream, _, far = open_one()
    far.reset()
    with pytest.raises(BrokenResourceError):
        await stream.receive()
    with pytest.raises(BrokenResourceError):
        await stream.send(b"x")
    assert stream.problem is None


async def test_a_context_that_cannot_wrap_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, *_ = open_one()

    def expire(self: FakeAcceptor, data: bytes, protection: Protection) -> bytes:
        raise GssError("the context has expired")

    monkeypatch.setattr(FakeAcceptor, "wrap", expire)
    with pytest.raises(BrokenResourceError, match="expired"):
        await stream.send(b"x")


async def test_it_has_the_addresses_of_what_is_below() -> None:
    near, _ = memory_stream_pair()
    near.ends = ("192.0.2.1", 1), ("192.0.2.2", 2)
    stream = EncapsulatedStream(near, agreed()[0], Protection.INTEGRITY)
    assert stream.extra(SocketAttribute.remote_address) == ("192.0.2.2", 2)
    await stream.aclose()
    assert near.closed


# --- whatever arrives -------------------------------------------------------------------------------------------------


async def hear(pieces: Sequence[bytes]) -> tuple[bytes, bool]:
    """Return what a stream makes of these pieces, and whether it took the end behind them for a regular one."""
    stream, _, far = open_one()
    said = b""
    async with trio.open_nursery() as nursery:

        async def deliver() -> None:
            for piece in pieces:
                await far.send(piece)
            await far.send_eof()

        nursery.start_soon(deliver)
        try:
            while True:
                said += await stream.receive()
        except EndOfStream:
            return said, True
        except BrokenResourceError:
            nursery.cancel_scope.cancel()
    return said, False


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in cuts}), len(data)]
    return [data[start:end] for start, end in pairwise(places) if start < end]


fuzz = settings(max_examples=100)
ITEMS, CUTS = st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(0, 400), max_size=6)


def sealed(items: Sequence[bytes]) -> bytes:
    peer = agreed()[0]
    return b"".join(capsule(peer, item) for item in items)


@fuzz
@given(ITEMS, CUTS)
def test_capsules_are_the_same_in_any_pieces(items: list[bytes], cuts: list[int]) -> None:
    assert trio.run(hear, cut(sealed(items), cuts)) == (b"".join(items), True)


@fuzz
@given(ITEMS, CUTS, st.integers(0, 400), st.integers(1, 255))
def test_whatever_is_changed_nothing_wrong_is_delivered(
    items: list[bytes], cuts: list[int], place: int, change: int
) -> None:
    data = bytearray(sealed(items) or b"\0")
    data[place % len(data)] ^= change
    said, regular = trio.run(hear, cut(bytes(data), cuts))
    assert b"".join(items).startswith(said)
    assert not regular


@fuzz
@given(st.binary(max_size=200), CUTS)
def test_bytes_of_no_meaning_end_in_order_or_not_at_all(data: bytes, cuts: list[int]) -> None:
    said, regular = trio.run(hear, cut(data, cuts))
    assert said == b""
    assert regular is (data == b"")
