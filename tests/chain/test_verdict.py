"""Whose failure it was."""

from __future__ import annotations

import errno
import os

import pytest

from chainsocks.chain.legs import legs
from chainsocks.chain.verdict import Doubt, explain, judge
from chainsocks.chain.walk import CONNECT, RESOLVE
from chainsocks.config.hops import HopProtocol, Pipeline
from chainsocks.errors import (
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Place,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import IdentCode, ReplyCode
from tests.hops import make_hop

HOPS = [make_hop(position) for position in (1, 2, 3)]
FIRST, MIDDLE, LAST = legs(HOPS, Address("example.org", 80))
UNASKED = Doubt.UNLESS_IT_WAS_NOT_ASKED
PLAIN, MAYBE, INNOCENT, DESTINATION = Doubt.NONE, Doubt.UNLESS_ANOTHER_WAY_OPENS, Doubt.INNOCENT, Doubt.DESTINATION


def error(kind: type[DialError], step: str, cause: OSError | None = None) -> DialError:
    made = kind(Place("a hop", Address("192.0.2.1", 1), step), "trouble", elapsed=1, limit=1)
    made.__cause__ = cause
    return made


def refusal(code: int) -> HopRefused:
    made = HopRefused(Place("a hop", Address("192.0.2.1", 1), State.REQUEST), "no", elapsed=1, limit=1)
    made.code = code
    return made


def failed_connect(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("trouble", "position", "suspects", "doubt"),
    [
        (error(ConnectError, RESOLVE), 1, "paris", PLAIN),
        (error(ConnectError, CONNECT, failed_connect(errno.ECONNREFUSED)), 1, "paris", PLAIN),
        (error(DialTimeout, CONNECT), 1, "paris", PLAIN),
        (error(DialTimeout, State.METHOD_NEGOTIATION), 1, "paris", PLAIN),
        (error(HopProtocolError, State.METHOD_NEGOTIATION), 2, "osaka paris", PLAIN),
        (error(HopAuthenticationError, State.SUB_NEGOTIATION), 2, "osaka paris", PLAIN),
        (error(DialTimeout, State.SUB_NEGOTIATION), 3, "lima osaka", PLAIN),
        # What one hop says of the next, or does not say, is the failure of either.
        (error(DialTimeout, State.REQUEST), 1, "osaka paris", MAYBE),
        (refusal(ReplyCode.CONNECTION_REFUSED), 1, "osaka paris", MAYBE),
        (refusal(ReplyCode.GENERAL_FAILURE), 2, "lima osaka", MAYBE),
        (refusal(ReplyCode.TTL_EXPIRED), 2, "lima osaka", MAYBE),
        # These words are about the one who says them.
        (refusal(ReplyCode.NOT_ALLOWED_BY_RULESET), 1, "paris osaka", INNOCENT),
        (refusal(ReplyCode.NOT_ALLOWED_BY_RULESET), 3, "lima", INNOCENT),
        (refusal(ReplyCode.NETWORK_UNREACHABLE), 3, "lima", INNOCENT),
        (refusal(ReplyCode.COMMAND_NOT_SUPPORTED), 3, "lima", INNOCENT),
        (refusal(ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED), 3, "lima", INNOCENT),
        (error(UnsupportedAddress, State.REQUEST), 2, "osaka", INNOCENT),
        # The last hop and the destination.
        (refusal(ReplyCode.GENERAL_FAILURE), 3, "lima", MAYBE),
        (refusal(0x5A), 3, "lima", MAYBE),
        (refusal(IdentCode.IDENTD_MISSING), 3, "lima", MAYBE),
        (error(DialTimeout, State.REQUEST), 3, "lima", MAYBE),
        (refusal(ReplyCode.CONNECTION_REFUSED), 3, "lima", DESTINATION),
        (refusal(ReplyCode.HOST_UNREACHABLE), 3, "lima", DESTINATION),
        (refusal(ReplyCode.TTL_EXPIRED), 3, "lima", DESTINATION),
        (refusal(ReplyCode.ONION_DESCRIPTOR_NOT_FOUND), 3, "lima", DESTINATION),
        # Nobody else could do better: we have nothing left to connect with.
        (error(ConnectError, CONNECT, failed_connect(errno.EMFILE)), 1, "", PLAIN),
        (error(ConnectError, CONNECT, failed_connect(errno.ENOBUFS)), 1, "", PLAIN),
    ],
)
def test_suspects(trouble: DialError, position: int, suspects: str, doubt: Doubt) -> None:
    verdict = judge(trouble, (FIRST, MIDDLE, LAST)[position - 1])
    assert (" ".join(hop.name for hop in verdict.suspects), verdict.doubt) == (suspects, doubt)


@pytest.mark.parametrize(
    ("trouble", "position", "suspects", "doubt"),
    [
        # The first answer to what went behind the carrier's request: it was silent, or never asked.
        (error(DialTimeout, State.METHOD_NEGOTIATION), 2, "osaka paris", UNASKED),
        (error(HopProtocolError, State.METHOD_NEGOTIATION), 2, "osaka paris", UNASKED),
        (error(DialTimeout, State.REQUEST), 3, "lima osaka", UNASKED),  # it speaks SOCKS4
        (error(HopProtocolError, State.REQUEST), 3, "lima osaka", UNASKED),
        # Whoever has given an answer was asked.
        (error(DialTimeout, State.SUB_NEGOTIATION), 2, "osaka paris", PLAIN),
        (error(HopProtocolError, State.REQUEST), 2, "osaka paris", PLAIN),
        (error(DialTimeout, State.REQUEST), 2, "lima osaka", MAYBE),
        (error(HopAuthenticationError, State.METHOD_NEGOTIATION), 2, "osaka paris", PLAIN),
        # We ask the first one ourselves.
        (error(DialTimeout, State.METHOD_NEGOTIATION), 1, "paris", PLAIN),
        (error(DialTimeout, State.REQUEST), 1, "osaka paris", MAYBE),
    ],
)
def test_suspects_where_hops_are_asked_at_once(trouble: DialError, position: int, suspects: str, doubt: Doubt) -> None:
    hops = (*HOPS[:2], make_hop(3, HopProtocol.SOCKS4))
    plan = legs(hops, Address("192.0.2.80", 80), pipeline=Pipeline.CHAIN)
    verdict = judge(trouble, plan[position - 1])
    assert (" ".join(hop.name for hop in verdict.suspects), verdict.doubt) == (suspects, doubt)


def test_three_suspects() -> None:
    """A SOCKS4 hop has one answer: neither it nor the next one may have been asked."""
    hops = (HOPS[0], make_hop(2, HopProtocol.SOCKS4), HOPS[2])
    plan = legs(hops, Address("192.0.2.80", 80), pipeline=Pipeline.CHAIN)
    verdict = judge(error(DialTimeout, State.REQUEST), plan[1])
    assert verdict.suspects == (HOPS[2], hops[1], HOPS[0])
    assert verdict.doubt is UNASKED


@pytest.mark.parametrize(
    ("trouble", "blamed", "why"),
    [
        (error(DialTimeout, State.METHOD_NEGOTIATION), 0, "it seems to lose what is sent behind its request: "),
        (error(DialTimeout, State.METHOD_NEGOTIATION), 1, None),
        (error(DialTimeout, State.SUB_NEGOTIATION), 0, None),
        (error(DialTimeout, State.SUB_NEGOTIATION), 1, "it seems to lose what is sent behind its greeting: "),
        (error(HopProtocolError, State.SUB_NEGOTIATION), 1, "it seems to lose what is sent behind its greeting: "),
        (error(HopAuthenticationError, State.SUB_NEGOTIATION), 1, None),
        (error(DialTimeout, State.REQUEST), 1, None),
        (error(DialTimeout, State.REQUEST), 2, None),
    ],
)
def test_a_loss_is_called_a_loss(trouble: DialError, blamed: int, why: str | None) -> None:
    """For no greeting in order shows that, and nobody shall believe by one that the hop is well."""
    plan = legs(HOPS, Address("example.org", 80), pipeline=Pipeline.CHAIN)
    assert explain(HOPS[blamed], trouble, plan[1]) == (trouble if why is None else f"{why}{trouble}")
    assert explain(HOPS[blamed], trouble, MIDDLE) is trouble


def test_without_hops_it_is_the_destination() -> None:
    assert judge(error(ConnectError, CONNECT), None).suspects == ()
