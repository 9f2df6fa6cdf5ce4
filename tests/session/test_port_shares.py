"""The ports for datagrams: who may have one more, and what a client that may not is told."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from chainsocks.errors import RequestRefused
from chainsocks.protocol.messages import ReplyCode
from chainsocks.session.port_shares import PortShares
from chainsocks.sockets import ANY_PORT

HERE, THERE = "192.0.2.100", "2001:db8::100"


def take_all(shares: PortShares, client: str, stack: ExitStack, host: str = HERE) -> int:
    count = 0
    while count < 1000:
        try:
            stack.enter_context(shares.hold(host, client))
        except RequestRefused:
            return count
        count += 1
    return count


@pytest.mark.parametrize(
    ("count", "first", "second"), [(1, 1, 0), (3, 3, 0), (4, 3, 1), (10, 9, 1), (101, 95, 3), (200, 188, 6)]
)
def test_a_lone_client_has_all_but_the_reserve(count: int, first: int, second: int) -> None:
    shares = PortShares(range(40_000, 40_000 + count))
    with ExitStack() as stack:
        assert take_all(shares, "a", stack) == first
        assert take_all(shares, "b", stack) == second


def test_what_the_client_is_told() -> None:
    shares = PortShares(range(40_000, 40_010))
    with ExitStack() as stack:
        take_all(shares, "a", stack)
        with pytest.raises(RequestRefused) as refused, shares.hold(HERE, "a"):
            pass
        assert refused.value.reply_code == ReplyCode.GENERAL_FAILURE
        assert str(refused.value) == (
            "no UDP socket: the client has 9 of 10 udp_ports, and what is left (1) is kept for others"
        )
        take_all(shares, "b", stack)
        with pytest.raises(RequestRefused, match="no UDP socket: all 10 udp_ports are in use"), shares.hold(HERE, "c"):
            pass


def test_ports_of_the_kernels_choice_are_not_shared_out() -> None:
    with ExitStack() as stack:
        assert take_all(PortShares(ANY_PORT), "a", stack) == 1000


def test_each_local_address_has_all_ports() -> None:
    shares = PortShares(range(40_000, 40_003))
    with ExitStack() as stack:
        assert take_all(shares, "a", stack) == 3
        assert take_all(shares, "a", stack, THERE) == 3


def test_ports_that_were_given_back_can_be_had_again() -> None:
    shares = PortShares(range(40_000, 40_003))
    for _ in range(3):
        with ExitStack() as stack:
            assert take_all(shares, "a", stack) == 3
    assert not shares._shares
