"""What the server's and the library's UDP have in common: accepted datagrams, a chain's relays, bounded memory."""

from __future__ import annotations

import pytest
import trio
from anyio.abc import ByteReceiveStream
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.datagrams import PATIENCE, Candidates, Drop, DropDatagram, Recent, Tunnel, split, wait_for_end
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import encode_header
from tests.memory import memory_stream_pair

PARIS, OSAKA, FAR = Address("192.0.2.1", 1000), Address("192.0.2.2", 2000), Address("far.example", 53)
FROM_PARIS = (PARIS.host, PARIS.port)
REPLY = encode_header(FAR) + b"answer"

# --- headers


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        pytest.param(b"\0\0\x01", Drop.FRAGMENT, id="fragment"),
        pytest.param(b"\0\0\x81", Drop.FRAGMENT, id="last fragment"),
        pytest.param(b"\x01\0\x01", Drop.FRAGMENT, id="reserved byte of a fragment"),
    ],
)
def test_a_header_that_is_dropped(front: bytes, reason: Drop) -> None:
    with pytest.raises(DropDatagram) as caught:
        split(front + REPLY[3:])
    assert caught.value.reason is reason


@pytest.mark.parametrize("size", [0, 3, len(encode_header(FAR)) - 1])
def test_a_datagram_that_ends_within_its_header_is_dropped(size: int) -> None:
    with pytest.raises(DropDatagram) as caught:
        split(REPLY[:size])
    assert caught.value.reason is Drop.MALFORMED


def test_a_header_that_is_accepted() -> None:
    assert REPLY[split(REPLY) :] == b"answer"


# --- through a chain


def test_each_relay_gets_the_header_of_the_next_one() -> None:
    tunnel = Tunnel((PARIS, OSAKA))
    assert tunnel.entry == FROM_PARIS
    assert tunnel.wrap(b"datagram") == encode_header(OSAKA) + b"datagram"
    assert Tunnel((PARIS,)).wrap(b"datagram") == b"datagram"


def test_the_entry_is_an_address_that_sockets_report() -> None:
    assert Tunnel((Address("::ffff:192.0.2.1", 1000),)).entry == FROM_PARIS


def test_a_reply_has_come_through_all_relays() -> None:
    inner, header = Tunnel((PARIS, OSAKA)).unwrap(encode_header(OSAKA) + REPLY, FROM_PARIS)
    assert (inner, inner[header:]) == (REPLY, b"answer")


def test_the_reserved_bytes_of_relays_are_ignored_and_not_passed_on() -> None:
    noisy = b"\x07\x00" + encode_header(OSAKA)[2:] + b"\xff\xff" + REPLY[2:]
    inner, header = Tunnel((PARIS, OSAKA)).unwrap(noisy, FROM_PARIS)
    assert (inner, inner[header:]) == (REPLY, b"answer")


@pytest.mark.parametrize(
    ("datagram", "source", "reason"),
    [
        pytest.param(encode_header(OSAKA) + REPLY, (PARIS.host, 1001), Drop.STRANGER, id="other port"),
        pytest.param(encode_header(OSAKA) + REPLY, ("192.0.2.66", PARIS.port), Drop.STRANGER, id="other host"),
        pytest.param(encode_header(PARIS) + REPLY, FROM_PARIS, Drop.STRANGER, id="sent to the relay by somebody else"),
        pytest.param(encode_header(OSAKA), FROM_PARIS, Drop.MALFORMED, id="nothing behind the relays"),
        pytest.param(
            b"\0\0\x01" + encode_header(OSAKA)[3:] + REPLY, FROM_PARIS, Drop.MALFORMED, id="a relay's fragment"
        ),
        pytest.param(encode_header(OSAKA) + b"\0\0\x01" + REPLY[3:], FROM_PARIS, Drop.FRAGMENT, id="fragment"),
    ],
)
def test_a_reply_that_is_dropped(datagram: bytes, source: tuple[str, int], reason: Drop) -> None:
    with pytest.raises(DropDatagram) as caught:
        Tunnel((PARIS, OSAKA)).unwrap(datagram, source)
    assert caught.value.reason is reason


# --- memory


@given(st.integers(1, 8), st.lists(st.tuples(st.sampled_from(["set", "get", "peek"]), st.integers(0, 12))))
def test_the_keys_used_last_are_kept_and_the_number_is_bounded(size: int, actions: list[tuple[str, int]]) -> None:
    recent = Recent[int, str](size)
    used: list[int] = []  # least recently first
    for action, key in actions:
        known = recent.peek(key)
        if action == "set":
            recent[key] = known = str(key)
        elif action == "get":
            assert recent.get(key) == known
        if known and action != "peek":
            used = [*(other for other in used if other != key), key]
        assert [recent.peek(kept) for kept in used[-size:]] == [str(kept) for kept in used[-size:]]
        assert len(recent) <= 2 * size
        assert known in (None, str(key))


def test_a_peek_does_not_keep_a_key() -> None:
    recent = Recent[str, int](1)
    recent["a"] = 1
    for key in "bc":
        assert recent.peek("a") == 1
        recent[key] = 2
    assert recent.peek("a") is None


def test_a_get_keeps_a_key() -> None:
    recent = Recent[str, int](1)
    recent["a"] = 1
    for key in "bc":
        assert recent.get("a") == 1
        recent[key] = 2
    assert recent.peek("a") == 1


def test_the_last_value_counts() -> None:
    recent = Recent[str, int](1)
    recent["a"] = 1
    recent["b"] = 1
    recent["a"] = 2
    assert recent.get("a") == 2
    recent["a"] = 3
    assert recent.get("a") == 3


# --- the addresses of a name

ONE, TWO, THREE = (Address(f"192.0.2.{number}", 53) for number in (1, 2, 3))


def used(candidates: Candidates, *times: float) -> list[Address]:
    """The addresses of the datagrams that are sent at these times."""
    return [next(candidates.in_turn(now)) for now in times]


def test_each_address_has_its_turn_and_the_turns_grow() -> None:
    candidates = Candidates([ONE, TWO])
    times = [0, 0.1, 0.25, 0.4, 0.5, 0.9, 1.0, 1.4, 1.5]
    assert used(candidates, *times) == [ONE, ONE, TWO, TWO, ONE, ONE, TWO, TWO, ONE]


def test_an_address_that_has_replied_stays() -> None:
    candidates = Candidates([ONE, TWO, THREE])
    assert used(candidates, 0, 1) == [ONE, TWO]
    candidates.note_reply(TWO)
    assert used(candidates, 2, 3, 1000) == [TWO] * 3
    candidates.note_reply(ONE)  # late: the one in use is as good
    assert used(candidates, 1001) == [TWO]


def test_a_late_reply_counts_while_no_other_has_replied() -> None:
    candidates = Candidates([ONE, TWO])
    assert used(candidates, 0, 1) == [ONE, TWO]
    candidates.note_reply(ONE)
    assert used(candidates, 1.1, 9) == [ONE, ONE]


def test_what_the_kernel_does_not_take_goes_to_the_next_one() -> None:
    candidates = Candidates([ONE, TWO, THREE])
    assert list(candidates.in_turn(0)) == [ONE, TWO, THREE]
    turn = candidates.in_turn(0)
    assert [next(turn), next(turn)] == [ONE, TWO]
    assert used(candidates, 0.1) == [TWO]


def test_an_address_that_has_replied_loses_one_datagram_for_want_of_room_and_stays() -> None:
    candidates = Candidates([ONE, TWO])
    used(candidates, 0)
    candidates.note_reply(ONE)
    assert list(candidates.in_turn(1)) == [ONE]
    assert used(candidates, 1 + PATIENCE / 2) == [ONE]
    candidates.note_reply(ONE)
    assert used(candidates, 9) == [ONE]


def test_an_address_that_has_replied_and_can_no_longer_be_sent_to_is_left() -> None:
    candidates = Candidates([ONE, TWO])
    used(candidates, 0)
    candidates.note_reply(ONE)
    assert list(candidates.in_turn(1)) == [ONE]
    assert used(candidates, 1 + PATIENCE) == [TWO]


def test_the_families_alternate_and_are_in_plain_form() -> None:
    six = Address("2001:db8::1", 53)
    assert Candidates([ONE, TWO, Address("::ffff:192.0.2.1", 53), six]).addresses == [ONE, six, TWO]
    assert len(Candidates([Address(f"192.0.2.{number}", 53) for number in range(200)]).addresses) == 20


# --- the connections that associations live by


@pytest.mark.parametrize(("how", "in_order"), [("aclose", True), ("reset", False)])
async def test_how_a_connection_ended(how: str, in_order: bool) -> None:  # noqa: FBT001
    near, far = memory_stream_pair()
    await far.send(b"to be discarded")
    if how == "reset":
        far.reset()
    else:
        await far.aclose()
    assert await wait_for_end(near) is in_order


async def test_a_peer_that_never_stops_sending_does_not_hold_up_other_tasks() -> None:
    class Flood(ByteReceiveStream):
        received = 0

        async def receive(self, max_bytes: int = 65536) -> bytes:
            self.received += 1
            if self.received > 1000:
                pytest.fail("no other task has run")
            return b"more"

        async def aclose(self) -> None: ...

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_end, Flood())
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
