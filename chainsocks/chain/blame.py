"""Blame: which hop a failed attempt is due to, and how sure that is.

What one attempt shows is often not enough. Think of a chain ``paris -> osaka -> example.org``.

*One suspect.* If TCP to paris fails, or paris refuses our login, or does not speak SOCKS, paris has failed. The same
holds for osaka, which we talk to through paris: a tunnel that hands on osaka's wrong answer works. That is
`Confidence.CERTAIN`.

*Two suspects.* "paris could not reach osaka" is the word of paris. Either osaka is down, or paris has no way to it, and
both look alike from here. Both are suspects, the likelier first, and neither is blamed: `IF_ANOTHER_ROUTE_WORKS`. The
dial tries another route. If that one succeeds, the guilty hop is the last suspect that the route does not use. If none
does, nothing is learnt: with a single hop in front of a group, a thousand such failures leave every member usable. The
alternative, to blame the likelier one at once, was tried first: one cut cable behind paris then put each member of the
next group into backoff, for failures that were none of theirs.

*A hop that works.* "Not allowed by ruleset", "address type not supported" and the like are the hop's own rules. The hop
is fine, and another one may do better: `HOP_OK_CANNOT_DO_THIS`. When the last hop says "connection refused" or "host
unreachable", that is about the destination, and another exit would be told the same: `DESTINATION_FAILED` ends the
request, unless the group says ``retry_refused``. "General failure" is not among them: many servers send it for all.

*Pipelining* adds a suspect. With ``pipeline = "chain"`` osaka's greeting goes right behind the request to paris, before
paris has answered. Some servers read that request into a buffer and throw away what came with it. Then osaka is silent
because it was never greeted. So when the first answer of a hop fails to come, and its previous hop was sent something
in advance, both are suspects: `IF_PIPELINING_WORKS`. Three facts can decide. The previous hop has passed such bytes on
in an earlier dial: then it is no suspect, and never will be again. Another route works: then as above. Or the same hop
is a suspect in two failed attempts with different partners: then it is guilty, for it is unlikely that both partners
are.

*What the failure counts for* is in `Suspect.key`. A TCP connection that fails says nothing of a login. So it counts for
the address, and all hops at that address are left alone together: fifty logins at one dead gateway cost one connect
limit. Every later failure counts for one `chainsocks.config.hops.Identity`: a wrong password is not the fault of the
right one beside it.

*For how long it counts* is the business of `chainsocks.chain.health`. `FailedAt` tells it what a health check can
prove: a greeting that is answered disproves a failed connect or login, and does not disprove a failed request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from chainsocks.chain.legs import Leg
from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.config.hops import Hop, Identity, Pipeline
from chainsocks.errors import (
    Cause,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address, AddressType
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
    def key(self) -> Identity | Address:
        """What the failure counts for: its address if there was no connection, otherwise its identity."""
        return self.hop.address if self.at is FailedAt.CONNECT else self.hop.identity

    def is_used_by(self, hops: Iterable[Hop]) -> bool:
        """Tell whether one of `hops` would fail as well if this suspect has failed."""
        return any(hop.is_among((self.key,)) for hop in hops)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hops that another attempt could avoid, the likeliest culprit first; none where no attempt can help."""

    suspects: tuple[Suspect, ...]
    confidence: Confidence = Confidence.CERTAIN


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
        case UnsupportedAddress():
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


def _suspect(leg: Leg, error: DialError) -> Suspect:
    """Suspect the hop of the leg at which it went wrong."""
    step = error.place.step
    if step == State.REQUEST:
        return Suspect(leg.hop, FailedAt.REQUEST)
    if step in (RESOLVE, CONNECT):
        return Suspect(leg.hop, FailedAt.CONNECT)
    pipelined = leg.pipeline is not Pipeline.OFF and step == State.SUB_NEGOTIATION
    if pipelined and not isinstance(error, HopAuthenticationError):
        # Sent one by one, as in a health check, the same messages may be answered: that would prove nothing.
        return Suspect(leg.hop, FailedAt.REQUEST, "it seems to lose what is sent behind its greeting: ")
    return Suspect(leg.hop, FailedAt.LOGIN)


def _looks_up_its_own_name(leg: Leg, error: DialError) -> bool:
    """Tell whether the look-up that failed was of the hop's own name, and not of its target's (`Resolve.LOCAL`)."""
    if leg.position > 1 or leg.hop.address.type is not AddressType.DOMAINNAME:
        return False
    return not error.at_destination


def _is_first_answer_to_pipelined_data(error: DialError, leg: Leg) -> bool:
    """Tell whether the missing answer is the first one to what was sent behind the previous hop's request."""
    return leg.previous_pipeline is Pipeline.CHAIN and error.place.step == leg.hop.kind.first_step
