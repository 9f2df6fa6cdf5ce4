"""Whose failure it was: which hop another try would have to go without, and what that says of the hop.

The last hop's refusal of the destination is the destination's, and final: another exit would be told the same. What a
hop says of the one after it may be the failure of either, and is held against nobody until another way has shown which.
So may the silence of a hop that was asked behind its carrier's request: the carrier may have lost the question.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chainsocks.chain.legs import Leg
from chainsocks.config.hops import Hop, HopProtocol, Pipeline
from chainsocks.errors import (
    Cause,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    UnsupportedAddress,
)
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import ReplyCode

__all__ = ["Confidence", "Verdict", "explain", "judge"]


class Confidence(Enum):
    """How sure we are that the first suspect has failed."""

    CERTAIN = "it has failed"
    IF_ANOTHER_ROUTE_WORKS = "it has failed if another route reaches the same destination"
    IF_PIPELINING_WORKS = "it has failed if the previous hop supports pipelining"
    HOP_OK_CANNOT_DO_THIS = "it works, and cannot do what was asked"
    DESTINATION_FAILED = "it works, and reports that the destination failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hops that another try could go without, the likeliest culprit first; nobody where another try is of no use."""

    suspects: tuple[Hop, ...]
    confidence: Confidence = Confidence.CERTAIN


FINAL = Verdict(())

_OUR_OWN = {Cause.TOO_MANY_FILES, Cause.OUT_OF_MEMORY}
"""We have nothing left to connect with."""

_RULES_OF_THE_HOP = {
    ReplyCode.NOT_ALLOWED_BY_RULESET,
    ReplyCode.NETWORK_UNREACHABLE,  # most often: it has no IPv6
    ReplyCode.COMMAND_NOT_SUPPORTED,
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
}
"""Refusals that speak of the hop which sends them, and not of whom it was asked for."""

_OF_THE_DESTINATION = {
    ReplyCode.HOST_UNREACHABLE,
    ReplyCode.CONNECTION_REFUSED,
    ReplyCode.TTL_EXPIRED,
    *(code for code in ReplyCode if code >= ReplyCode.ONION_DESCRIPTOR_NOT_FOUND),
}
"""Refusals of the last hop that tell what came of the destination."""


def judge(error: DialError, leg: Leg | None) -> Verdict:
    """Say whom to go without after `error`, which ended a walk at `leg`."""
    if leg is None or error.cause in _OUR_OWN:
        return FINAL
    hop, previous, following = leg.hop, leg.previous, leg.next
    losers = (previous,) if previous and _is_first_answer_asked_ahead(error, leg) else ()
    unsure = Confidence.IF_PIPELINING_WORKS if losers else Confidence.IF_ANOTHER_ROUTE_WORKS
    match error:
        case UnsupportedAddress():
            return Verdict((hop,), Confidence.HOP_OK_CANNOT_DO_THIS)
        case HopRefused(code=code) if following:
            if code in _RULES_OF_THE_HOP:
                return Verdict((hop, following), Confidence.HOP_OK_CANNOT_DO_THIS)
            return Verdict((following, hop), Confidence.IF_ANOTHER_ROUTE_WORKS)
        case HopRefused(code=code):
            if code in _RULES_OF_THE_HOP:
                return Verdict((hop,), Confidence.HOP_OK_CANNOT_DO_THIS)
            told = code in _OF_THE_DESTINATION
            return Verdict((hop,), Confidence.DESTINATION_FAILED if told else Confidence.IF_ANOTHER_ROUTE_WORKS)
        case DialTimeout() if error.place.step == State.REQUEST and following:
            return Verdict((following, hop, *losers), unsure)
        case DialTimeout() if error.place.step == State.REQUEST:
            return Verdict((hop, *losers), unsure)
        case DialTimeout() | HopProtocolError() if losers:
            return Verdict((hop, *losers), unsure)
        case _:
            return Verdict((hop, previous) if previous else (hop,))


def explain(hop: Hop, error: DialError, leg: Leg) -> DialError | str:
    """Say why `hop` is blamed for `error`, which ended a walk at `leg`: that is the error itself, or more than that.

    It is more where the hop may have lost what was sent ahead, which no greeting in order would show.
    """
    if hop.name != leg.hop.name:
        is_previous = leg.previous is not None and leg.previous.name == hop.name
        loses = is_previous and _is_first_answer_asked_ahead(error, leg)
        return f"it seems to lose what is sent behind its request: {error}" if loses else error
    loses = leg.pipeline is not Pipeline.OFF and error.place.step == State.SUB_NEGOTIATION
    if loses and not isinstance(error, HopAuthenticationError):
        return f"it seems to lose what is sent behind its greeting: {error}"
    return error


def _is_first_answer_asked_ahead(error: DialError, leg: Leg) -> bool:
    """Whether it went wrong where the answer to what had been sent behind the carrier's request was due."""
    first = State.METHOD_NEGOTIATION if leg.hop.protocol is HopProtocol.SOCKS5 else State.REQUEST
    return leg.previous_pipeline is Pipeline.CHAIN and error.place.step == first
