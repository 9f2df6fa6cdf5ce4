"""Whose failure it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chainsocks.chain.blame import Confidence, FailedAt, Suspect, judge
from chainsocks.chain.legs import legs
from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.config.choices import Pipeline, Resolve
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.errors import (
    Cause,
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Place,
    Step,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import IdentCode, ReplyCode, UsernamePassword
from tests.hops import make_hop

HOPS = [make_hop(position) for position in (1, 2, 3)]
FIRST, MIDDLE, LAST = legs(HOPS, Address("example.org", 80))
PIPELINING = Confidence.IF_PIPELINING_WORKS
CERTAIN = Confidence.CERTAIN
ROUTE = Confidence.IF_ANOTHER_ROUTE_WORKS
HOP_OK = Confidence.HOP_OK_CANNOT_DO_THIS
DESTINATION = Confidence.DESTINATION_FAILED


PLACE = Place("a hop", Address("192.0.2.1", 1), RESOLVE)


def error(kind: type[DialError], step: State | Step, cause: Cause = Cause.CLOSED) -> DialError:
    return kind(Place("a hop", Address("192.0.2.1", 1), step), "trouble", cause, elapsed=1, limit=1)


def refusal(code: int) -> HopRefused:
    place = Place("a hop", Address("192.0.2.1", 1), State.REQUEST)
    return HopRefused(place, "no", Cause.REFUSED, code=code, elapsed=1, limit=1)


@pytest.mark.parametrize(
    ("trouble", "position", "suspects", "confidence"),
    [
        (error(ConnectError, CONNECT, Cause.CONNECTION_REFUSED), 1, "paris", CERTAIN),
        (error(DialTimeout, CONNECT), 1, "paris", CERTAIN),
        (error(DialTimeout, State.METHOD_NEGOTIATION), 1, "paris", CERTAIN),
        (error(HopProtocolError, State.METHOD_NEGOTIATION), 2, "osaka paris", CERTAIN),
        (error(HopAuthenticationError, State.SUB_NEGOTIATION), 2, "osaka paris", CERTAIN),
        (error(DialTimeout, State.SUB_NEGOTIATION), 3, "lima osaka", CERTAIN),
        # What one hop says of the next, or does not say, is the failure of either.
        (error(DialTimeout, State.REQUEST), 1, "osaka paris", ROUTE),
        (refusal(ReplyCode.CONNECTION_REFUSED), 1, "osaka paris", ROUTE),
        (refusal(ReplyCode.GENERAL_FAILURE), 2, "lima osaka", ROUTE),
        (refusal(ReplyCode.TTL_EXPIRED), 2, "lima osaka", ROUTE),
        # These words are about the one who says them.
        (refusal(ReplyCode.NOT_ALLOWED_BY_RULESET), 1, "paris osaka", HOP_OK),
        (refusal(ReplyCode.NOT_ALLOWED_BY_RULESET), 3, "lima", HOP_OK),
        (refusal(ReplyCode.NETWORK_UNREACHABLE), 3, "lima", HOP_OK),
        (refusal(ReplyCode.COMMAND_NOT_SUPPORTED), 3, "lima", HOP_OK),
        (refusal(ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED), 3, "lima", HOP_OK),
        (error(UnsupportedAddress, State.REQUEST), 2, "osaka", HOP_OK),
        # The last hop and the destination.
        (refusal(ReplyCode.GENERAL_FAILURE), 3, "lima", ROUTE),
        (refusal(0x5A), 3, "lima", ROUTE),
        (refusal(IdentCode.IDENTD_MISSING), 3, "lima", ROUTE),
        (error(DialTimeout, State.REQUEST), 3, "lima", ROUTE),
        (refusal(ReplyCode.CONNECTION_REFUSED), 3, "lima", DESTINATION),
        (refusal(ReplyCode.HOST_UNREACHABLE), 3, "lima", DESTINATION),
        (refusal(ReplyCode.TTL_EXPIRED), 3, "lima", DESTINATION),
        (refusal(ReplyCode.ONION_DESCRIPTOR_NOT_FOUND), 3, "lima", DESTINATION),
        # No port to come from: that is between us and this address, and no fault of the hop.
        (error(ConnectError, CONNECT, Cause.NO_LOCAL_PORT), 1, "paris", HOP_OK),
        # Nobody else could do better: we have nothing left to connect with.
        (error(ConnectError, CONNECT, Cause.TOO_MANY_FILES), 1, "", CERTAIN),
        (error(ConnectError, CONNECT, Cause.OUT_OF_MEMORY), 1, "", CERTAIN),
    ],
)
def test_suspects(trouble: DialError, position: int, suspects: str, confidence: Confidence) -> None:
    verdict = judge(trouble, (FIRST, MIDDLE, LAST)[position - 1])
    assert (" ".join(suspect.hop.name for suspect in verdict.suspects), verdict.confidence) == (suspects, confidence)


@pytest.mark.parametrize(
    ("trouble", "position", "suspects", "confidence"),
    [
        # The first answer to what was sent with the previous hop's request: this hop failed, or never got it.
        (error(DialTimeout, State.METHOD_NEGOTIATION), 2, "osaka paris", PIPELINING),
        (error(HopProtocolError, State.METHOD_NEGOTIATION), 2, "osaka paris", PIPELINING),
        (error(DialTimeout, State.REQUEST), 3, "lima osaka", PIPELINING),  # it speaks SOCKS4
        (error(HopProtocolError, State.REQUEST), 3, "lima osaka", PIPELINING),
        # A hop that has answered once did get what was sent.
        (error(DialTimeout, State.SUB_NEGOTIATION), 2, "osaka paris", CERTAIN),
        (error(HopProtocolError, State.REQUEST), 2, "osaka paris", CERTAIN),
        (error(DialTimeout, State.REQUEST), 2, "lima osaka", ROUTE),
        (error(HopAuthenticationError, State.METHOD_NEGOTIATION), 2, "osaka paris", CERTAIN),
        # The first hop has no previous hop.
        (error(DialTimeout, State.METHOD_NEGOTIATION), 1, "paris", CERTAIN),
        (error(DialTimeout, State.REQUEST), 1, "osaka paris", ROUTE),
    ],
)
def test_suspects_where_hops_are_asked_at_once(
    trouble: DialError, position: int, suspects: str, confidence: Confidence
) -> None:
    hops = (*HOPS[:2], make_hop(3, HopProtocol.SOCKS4))
    plan = legs(hops, Address("192.0.2.80", 80), pipeline=Pipeline.CHAIN)
    verdict = judge(trouble, plan[position - 1])
    assert (" ".join(suspect.hop.name for suspect in verdict.suspects), verdict.confidence) == (suspects, confidence)


def test_three_suspects() -> None:
    """A SOCKS4 hop has one answer: neither it nor the next one may have been asked."""
    hops = (HOPS[0], make_hop(2, HopProtocol.SOCKS4), HOPS[2])
    plan = legs(hops, Address("192.0.2.80", 80), pipeline=Pipeline.CHAIN)
    verdict = judge(error(DialTimeout, State.REQUEST), plan[1])
    assert [suspect.hop for suspect in verdict.suspects] == [HOPS[2], hops[1], HOPS[0]]
    assert verdict.confidence is PIPELINING


BEHIND_REQUEST = "it seems to lose what is sent behind its request: "
BEHIND_GREETING = "it seems to lose what is sent behind its greeting: "


@pytest.mark.parametrize(
    ("trouble", "suspect"),
    [
        (error(DialTimeout, State.METHOD_NEGOTIATION), Suspect(HOPS[0], FailedAt.REQUEST, BEHIND_REQUEST)),
        (error(DialTimeout, State.METHOD_NEGOTIATION), Suspect(HOPS[1], FailedAt.LOGIN)),
        (error(DialTimeout, State.SUB_NEGOTIATION), Suspect(HOPS[0], FailedAt.REQUEST)),
        (error(DialTimeout, State.SUB_NEGOTIATION), Suspect(HOPS[1], FailedAt.REQUEST, BEHIND_GREETING)),
        (error(HopProtocolError, State.SUB_NEGOTIATION), Suspect(HOPS[1], FailedAt.REQUEST, BEHIND_GREETING)),
        (error(HopAuthenticationError, State.SUB_NEGOTIATION), Suspect(HOPS[1], FailedAt.LOGIN)),
        (error(DialTimeout, State.REQUEST), Suspect(HOPS[1], FailedAt.REQUEST)),
        (error(DialTimeout, State.REQUEST), Suspect(HOPS[2], FailedAt.CONNECT)),
    ],
)
def test_where_a_suspect_failed(trouble: DialError, suspect: Suspect) -> None:
    """What may have been lost only because of pipelining counts as a failed request: a greeting disproves nothing."""
    plan = legs(HOPS, Address("example.org", 80), pipeline=Pipeline.CHAIN)
    assert suspect in judge(trouble, plan[1]).suspects
    assert not any(one.note for one in judge(trouble, MIDDLE).suspects)


def test_a_login_is_innocent_of_a_failed_connection() -> None:
    other = replace(HOPS[0], name="other login", credentials=UsernamePassword(b"carol", b"pw2"))
    [unreachable] = judge(error(ConnectError, CONNECT, Cause.CONNECTION_REFUSED), FIRST).suspects
    [refused] = judge(error(HopAuthenticationError, State.SUB_NEGOTIATION), FIRST).suspects
    assert unreachable.key == other.address
    assert unreachable.is_used_by([other])
    assert refused.key == HOPS[0].identity
    assert not refused.is_used_by([other])
    assert refused.is_used_by([replace(HOPS[0], name="the same, by another name")])


def test_what_a_hop_says_of_the_next_is_about_its_address() -> None:
    following, asked = judge(refusal(ReplyCode.CONNECTION_REFUSED), FIRST).suspects
    assert (following.key, asked.key) == (HOPS[1].address, HOPS[0].identity)


class TestLookUps:
    """A name is looked up here: the first hop's own, or with ``resolve = "local"`` that of what a hop is asked for."""

    NAMED = replace(HOPS[0], address=Address("paris.example", 1080), resolve=Resolve.LOCAL)

    def test_the_first_hop_is_not_found(self) -> None:
        [leg] = legs([self.NAMED], Address("192.0.2.80", 80))
        verdict = judge(error(ConnectError, RESOLVE), leg)
        assert verdict.suspects == (Suspect(self.NAMED, FailedAt.CONNECT),)
        assert verdict.confidence is CERTAIN

    @pytest.mark.parametrize("hop", [NAMED, replace(HOPS[0], resolve=Resolve.LOCAL)])
    def test_the_destination_is_not_found(self, hop: Hop) -> None:
        [leg] = legs([hop], Address("example.org", 80))
        trouble = ConnectError(PLACE, "no address", Cause.NAME_NOT_FOUND, elapsed=1, limit=1, at_destination=True)
        assert judge(trouble, leg).confidence is HOP_OK

    def test_the_next_hop_is_not_found(self) -> None:
        first = replace(HOPS[0], resolve=Resolve.LOCAL)
        leg, _ = legs([first, replace(HOPS[1], address=Address("osaka.example", 1080))], Address("example.org", 80))
        verdict = judge(error(DialTimeout, RESOLVE), leg)
        assert [suspect.hop.name for suspect in verdict.suspects] == ["paris", "osaka"]
        assert verdict.confidence is HOP_OK


def test_without_hops_it_is_the_destination() -> None:
    assert judge(error(ConnectError, CONNECT), None).suspects == ()
