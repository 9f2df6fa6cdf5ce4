"""Blame: which hop a failed attempt is due to, and how sure that is.

One attempt often does not show that. Take a chain ``paris -> osaka -> example.org``.

*One suspect.* If TCP to paris fails, if paris refuses the login or does not speak SOCKS, then paris has failed. The
same holds for osaka, which is reached through paris: a tunnel that carries osaka's wrong answer works. The confidence
is `CERTAIN`.

*Two suspects.* "osaka cannot be reached" is the word of paris. Either osaka is down, or paris has no way to it, and
both look alike from here. Both are suspects, the likelier one first, and neither is blamed yet:
`IF_ANOTHER_ROUTE_WORKS`. The dial tries another route. If that one succeeds, the guilty hop is the last suspect that
it does not use. If no route succeeds, nothing was learnt, and no hop is blamed.

*A hop that works.* "Not allowed by ruleset", "address type not supported" and the like come from the rules of the
hop. It works, and another one may do better: `HOP_OK_CANNOT_DO_THIS`. If the last hop says "connection refused" or
"host unreachable", that is about the destination, and another exit would see the same: `DESTINATION_FAILED` ends the
request, unless the group has ``retry_refused``. "General failure" is not one of these: many servers send it for every
failure.

*Pipelining* adds a suspect. With ``pipeline = "chain"`` osaka's greeting goes right behind the request to paris,
before paris has answered. Some servers throw away what came with a request. Then osaka is silent because it was never
greeted. So when the first answer of a hop is missing, and was asked for in this way, the hop and its previous hop are
suspects: `IF_PIPELINING_WORKS`. Three facts can decide that. The previous hop has passed on such bytes in an earlier
dial: then it is no suspect, now and later. Another route works: then as above. Or the same hop is a suspect in two
attempts, with different partners: then it is guilty, because both partners are unlikely to be.

*What a failure counts for* is `Suspect.key`. No login is needed for a TCP connection. So a failed one counts for the
address, and for the way out of this machine where the hop sets one, and all hops there are avoided together. Every
later failure counts for one `chainsocks.config.hops.Identity`: the right password is not to blame for the wrong one
beside it.

*After the request.* Once the request to the destination has been sent, the destination can bring failures about: it
can accept connections from one exit and hang up on another, or be silent, and ``ssh -D`` hangs up when a destination
refuses. So such a failure is never certain, and `Verdict.may_be_destination` says so: the hop is avoided for that
destination only (`chainsocks.chain.health`). Else any destination could choose the exit of all other requests. What a
middle hop is asked for is the next hop, which no client chooses.

*For how long it counts* is decided in `chainsocks.chain.health`. `FailedAt` says what a health check can disprove: an
answered greeting disproves a failed connection or login, and not a failed request.

*Alternatives.* The first two were tried with this code changed, on a mock clock, 20 requests in a row each:

- Blame the likelier suspect at once. Two entries, of which the first has lost its uplink, and two healthy exits: the
  exits were in backoff by turns, the broken entry never was, and every request took three attempts, 60 in all. With
  two suspects it is 22: the entry is blamed after the first request. With an entry that loses pipelined messages, and
  ``hop = 1.5``, the requests waited 60 s in all instead of 3 s.
- Count failed connections for the login as well. With fifty logins at one dead gateway, then a hop elsewhere, and the
  default limits (connect 10 s, dial 30 s), every request failed after three attempts and 30 s. Counted for the
  address, the first request succeeds after 10 s, and the others at once.
- Repeat an attempt without pipelining when a hop is silent. This was not tried: it doubles the time until a dead hop
  is given up, and a wrong setting would stay hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from chainsocks.chain.legs import Leg
from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.config.choices import Pipeline
from chainsocks.config.hops import Contact, Hop, Identity
from chainsocks.errors import (
    Cause,
    ConnectError,
    DialError,
    DialTimeout,
    End,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    UnsupportedAddress,
)
from chainsocks.protocol.address import AddressType
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import ReplyCode

__all__ = ["Confidence", "FailedAt", "Suspect", "Verdict", "judge"]


class Confidence(Enum):
    """How sure it is that the first suspect has failed."""

    CERTAIN = "it has failed"
    IF_ANOTHER_ROUTE_WORKS = "it has failed if another route reaches the same destination"
    IF_PIPELINING_WORKS = "it has failed if the previous hop supports pipelining"
    HOP_OK_CANNOT_DO_THIS = "it works, and cannot do what was asked"
    DESTINATION_FAILED = "it works, and reports that the destination failed"


class FailedAt(Enum):
    """How far we came with a hop that has failed."""

    CONNECT = "TCP connect"
    """There was no connection to its address; whether we tried ourselves or the previous hop did."""
    LOGIN = "greeting or login"
    """It was connected to, and did not come as far as a request."""
    REQUEST = "request"
    """It may answer a greeting, and still fail at what it is asked for."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A hop that may have failed, and where."""

    hop: Hop
    at: FailedAt
    note: str = ""
    """What to say before the error, where that is only a symptom."""

    @property
    def key(self) -> Identity | Contact:
        """What the failure counts for: its contact if there was no connection, otherwise its identity."""
        return self.hop.contact if self.at is FailedAt.CONNECT else self.hop.identity

    def is_used_by(self, hops: Iterable[Hop]) -> bool:
        """Tell whether one of `hops` would fail as well if this suspect has failed."""
        return any(hop.is_among((self.key,)) for hop in hops)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hops that another attempt could avoid, the likeliest culprit first; none where no attempt can help."""

    suspects: tuple[Suspect, ...]
    confidence: Confidence = Confidence.CERTAIN
    may_be_destination: bool = False
    """Whether the destination may have brought the failure about: the request to it had been sent."""


FINAL = Verdict(())

_OUR_OWN = {Cause.TOO_MANY_FILES, Cause.OUT_OF_MEMORY}
"""This machine has nothing left to connect with."""

_RULES_OF_THE_HOP = {
    ReplyCode.NOT_ALLOWED_BY_RULESET,
    ReplyCode.NETWORK_UNREACHABLE,  # most often: it has no IPv6
    ReplyCode.COMMAND_NOT_SUPPORTED,
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
}
"""Refusals that tell of the hop that sends them, and not of what it was asked for."""

_OF_THE_DESTINATION = {
    ReplyCode.HOST_UNREACHABLE,
    ReplyCode.CONNECTION_REFUSED,
    ReplyCode.TTL_EXPIRED,
    *(code for code in ReplyCode if code >= ReplyCode.ONION_DESCRIPTOR_NOT_FOUND),
}
"""Refusals of the last hop that tell of the destination."""


def judge(error: DialError, leg: Leg | None) -> Verdict:
    """Return the suspects for `error`, which ended an attempt at `leg`; None is the destination of a direct way."""
    verdict = _judge(error, leg)
    if leg is None or not _may_be_destination(error, leg):
        return verdict
    match verdict.confidence:
        case Confidence.CERTAIN:
            return Verdict(verdict.suspects, Confidence.IF_ANOTHER_ROUTE_WORKS, may_be_destination=True)
        case Confidence.IF_ANOTHER_ROUTE_WORKS | Confidence.IF_PIPELINING_WORKS:
            return replace(verdict, may_be_destination=True)
        case _:
            return verdict


def _judge(error: DialError, leg: Leg | None) -> Verdict:
    if leg is None or error.cause in _OUR_OWN:
        return FINAL
    hop = _suspect(leg, error)
    following = Suspect(leg.next, FailedAt.CONNECT) if leg.next else None
    loses = leg.previous is not None and _is_first_answer_to_pipelined_data(error, leg)
    note = "it seems to lose what is sent behind its request: " if loses else ""
    previous = Suspect(leg.previous, FailedAt.REQUEST, note) if leg.previous else None
    losers = (previous,) if previous and loses else ()
    unsure = Confidence.IF_PIPELINING_WORKS if losers else Confidence.IF_ANOTHER_ROUTE_WORKS
    match error:
        case UnsupportedAddress() | ConnectError(cause=Cause.NO_LOCAL_PORT):  # from here to that address only
            return Verdict((hop,), Confidence.HOP_OK_CANNOT_DO_THIS)
        case _ if error.place.step == RESOLVE and not _looks_up_its_own_name(leg, error):
            return Verdict((hop, following) if following else (hop,), Confidence.HOP_OK_CANNOT_DO_THIS)
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


def _may_be_destination(error: DialError, leg: Leg) -> bool:
    """Tell whether `error` came after the request to the destination had been sent.

    A pipelined hop has the request before it has answered the greeting. What it answers then is its own, but it may
    hang up because of the destination, and a reset destroys the answers that were under way.
    """
    if leg.next or error.place.end is not End.DESTINATION or isinstance(error, HopAuthenticationError):
        return False
    if error.place.step == State.REQUEST:
        return True
    return leg.pipeline is not Pipeline.OFF and error.cause in (Cause.CLOSED, Cause.RESET)


def _suspect(leg: Leg, error: DialError) -> Suspect:
    """Suspect the hop of the leg at which it went wrong."""
    step = error.place.step
    if isinstance(error, HopAuthenticationError):  # HTTP carries the login in the request
        return Suspect(leg.hop, FailedAt.LOGIN)
    if step == State.REQUEST:
        return Suspect(leg.hop, FailedAt.REQUEST)
    if step in (RESOLVE, CONNECT):
        return Suspect(leg.hop, FailedAt.CONNECT)
    pipelined = leg.pipeline is not Pipeline.OFF and step == State.SUB_NEGOTIATION
    if pipelined:
        # Sent one by one, as in a health check, the same messages may be answered: that would prove nothing.
        return Suspect(leg.hop, FailedAt.REQUEST, "it seems to lose what is sent behind its greeting: ")
    return Suspect(leg.hop, FailedAt.LOGIN)


def _looks_up_its_own_name(leg: Leg, error: DialError) -> bool:
    """Tell whether the lookup that failed was of the hop's own name, and not of its target's (`Resolve.LOCAL`)."""
    if leg.position > 1 or leg.hop.address.type is not AddressType.DOMAINNAME:
        return False
    return not error.at_destination


def _is_first_answer_to_pipelined_data(error: DialError, leg: Leg) -> bool:
    """Tell whether the missing answer is the first one to what was sent behind the previous hop's request."""
    return leg.previous_pipeline is Pipeline.CHAIN and error.place.step == leg.hop.kind.first_step
