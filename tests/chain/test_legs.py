"""A chain as a list of legs."""

from __future__ import annotations

import pytest

from chainsocks.chain.legs import Leg, legs, open_handshake
from chainsocks.config.choices import Pipeline
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from tests.hops import make_hop

DESTINATION = Address("example.org", 443)


def test_direct_has_no_legs() -> None:
    assert legs((), DESTINATION) == ()


def test_each_hop_is_asked_for_the_next_and_the_last_for_the_destination() -> None:
    a, b, c = (make_hop(number) for number in (1, 2, 3))
    assert legs((a, b, c), DESTINATION) == (
        Leg(1, a, b.address, None, b),
        Leg(2, b, c.address, a, c),
        Leg(3, c, DESTINATION, b, None),
    )


@pytest.mark.parametrize(
    ("protocol", "opening"),
    [
        (HopProtocol.SOCKS4, "04 01 01bb 0a000009 66726564 00"),
        (HopProtocol.SOCKS4A, "04 01 01bb 0a000009 66726564 00"),
        (HopProtocol.SOCKS5, "05 02 00 02"),
    ],
    ids=str,
)
def test_a_hop_is_spoken_to_in_its_own_protocol(protocol: HopProtocol, opening: str) -> None:
    hop: Hop = make_hop(1, protocol)
    assert open_handshake(hop, Address("10.0.0.9", 443)).data_to_send() == bytes.fromhex(opening)


@pytest.mark.parametrize("pipeline", [Pipeline.HOP, Pipeline.CHAIN])
def test_a_pipelined_hop_is_sent_all_its_messages_at_once(pipeline: Pipeline) -> None:
    opening = open_handshake(make_hop(1), Address("10.0.0.9", 443), pipeline=pipeline).data_to_send()
    assert opening == bytes.fromhex("05 01 02  01 03 626f62 02 7077  05 01 00 01 0a000009 01bb")
