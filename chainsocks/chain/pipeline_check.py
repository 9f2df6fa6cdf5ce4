"""The pipelining check: find out whether a hop can be sent messages before it has answered the ones before.

The hop is asked to connect to a target that answers a SOCKS greeting; its own address will do, since a proxy may be
asked for itself. That happens three times, on a connection of its own each: one message at a time, which shows that it
works at all; with greeting, login and request at once; and with a greeting for the target right behind these.

1. No client's data is at stake, and each attempt has the limits of a dial.
2. The hop's login goes to the hop alone, and together with its greeting only after the hop has accepted it in order.
   The target is sent a greeting without a login, and nothing else. The hops before are never pipelined here.
3. A hop does not support pipelining if it did in order what it does not do at once. Any other failure leaves `UNKNOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

import anyio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.chain.legs import Leg, open_handshake
from chainsocks.chain.readiness import reach
from chainsocks.chain.steps import hop_limit, negotiate, plan_to, refusal, unsupported, with_address
from chainsocks.chain.trip import Trip
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Pipeline, Resolve
from chainsocks.config.hops import Hop
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, DialError, HopAuthenticationError, HopProtocolError, Step
from chainsocks.network import Network
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.errors import describe_opening
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import State

__all__ = ["Finding", "Support", "check_pipelining"]

GREETING, VERSION = b"\x05\x01\x00", b"\x05"
"""What the target is sent, and what its answer begins with, whether it accepts that or not (RFC 1928 section 3)."""


class Support(StrEnum):
    """Whether a hop keeps messages that it has not asked for yet. The values stand in the JSON of `probe`."""

    SUPPORTED = "keeps"
    UNSUPPORTED = "loses"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check found out about a hop."""

    own: Support
    """For its own messages, all at once: what `Pipeline.HOP` needs."""
    behind: Support
    """For what comes right behind its request: what `Pipeline.CHAIN` needs beside that."""
    reason: str = ""
    """Why something is not supported, or not known."""

    @property
    def pipeline(self) -> Pipeline:
        """The most that the hop is known to support."""
        if self.own is not Support.SUPPORTED:
            return Pipeline.OFF
        return Pipeline.CHAIN if self.behind is Support.SUPPORTED else Pipeline.HOP


async def check_pipelining(
    hop: Hop, timeouts: Timeouts, network: Network, *, before: Route | None = None, target: Address | None = None
) -> Finding:
    """Check what `hop`, which is reached through the hops of `before`, supports.

    `target` is a SOCKS5 server for the hop to connect to, by default the hop itself. A hop that loses messages stays
    silent: that takes as long as its limit, ``timeouts.hop`` or its own.
    """
    if isinstance(hop.credentials, Gssapi):
        reason = "a login by GSSAPI is a conversation, in which no message can be sent early"
        return Finding(Support.UNKNOWN, Support.UNKNOWN, reason)
    if target is None and hop.is_unix:
        return Finding(Support.UNKNOWN, Support.UNKNOWN, "it is at a unix socket, to which it cannot connect itself")
    hops = tuple(replace(one, pipeline=Pipeline.OFF) for one in (*(before.hops if before else ()), hop))
    route = Route(Chain(*hops, send_proxy=before is not None and before.chain.send_proxy), hops)
    target = target or hop.address

    async def attempt(pipeline: Pipeline, ahead: bytes = b"") -> _Attempt:
        attempt = _Attempt()
        try:
            await Trip(route, target, timeouts, network).run(
                partial(_ask_for_target, attempt=attempt, pipeline=pipeline, ahead=ahead)
            )
        except DialError as error:
            attempt.error = error
        return attempt

    in_order = await attempt(Pipeline.OFF)
    if not in_order.replied:
        return Finding(Support.UNKNOWN, Support.UNKNOWN, str(in_order.error))
    if hop.kind.open_greeting:
        at_once = await attempt(Pipeline.HOP)
        if not (at_once.answered if in_order.answered else at_once.replied):
            return Finding(at_once.verdict, Support.UNKNOWN, str(at_once.error))
    if not in_order.answered:
        return Finding(Support.SUPPORTED, Support.UNKNOWN, str(in_order.error))
    glued = await attempt(Pipeline.HOP, GREETING)
    if glued.answered:
        return Finding(Support.SUPPORTED, Support.SUPPORTED)
    return Finding(Support.SUPPORTED, glued.verdict, str(glued.error))


@dataclass(slots=True)
class _Attempt:
    """How far one attempt came: to the hop, to the hop's reply, and to the target's answer to its greeting."""

    reached: bool = False
    replied: bool = False
    answered: bool = False
    error: DialError | None = None

    @property
    def verdict(self) -> Support:
        """What the failure of this attempt means, where the one in order succeeded."""
        at_the_hop = self.reached and not isinstance(self.error, HopAuthenticationError)
        return Support.UNSUPPORTED if at_the_hop else Support.UNKNOWN


async def _ask_for_target(trip: Trip, attempt: _Attempt, pipeline: Pipeline, ahead: bytes) -> None:
    """Go as far as the target's answer; `attempt` notes how far that was.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    plan = plan_to(trip, trip.destination)
    leg = plan[-1]
    if problem := leg.hop.cannot_carry(leg.target):
        trip.enter(leg, State.REQUEST)
        raise unsupported(trip, leg, problem)
    stream = await reach(trip, plan)
    try:
        attempt.reached = True
        await _converse(trip, attempt, leg, stream, pipeline, ahead)
    finally:
        await anyio.aclose_forcefully(stream)


async def _converse(
    trip: Trip, attempt: _Attempt, leg: Leg, stream: ByteStream, pipeline: Pipeline, ahead: bytes
) -> None:
    if leg.hop.resolve is Resolve.LOCAL and leg.target.type is AddressType.DOMAINNAME:
        leg = await with_address(trip, leg)
    handshake = open_handshake(leg.hop, leg.target, pipeline=pipeline)
    trip.allow(hop_limit(trip, leg), leg.target)
    stream = await negotiate(trip, leg, handshake, stream, ahead)
    attempt.replied = True
    if not handshake.reply.succeeded:
        raise refusal(trip, leg, handshake.reply)
    trip.allow(hop_limit(trip, leg), leg.target)
    trip.enter(leg, Step.AFTER_REPLY)
    answer = handshake.trailing_data
    try:
        if not ahead:
            await stream.send(GREETING)
        answer = answer or await stream.receive()
    except (EndOfStream, BrokenResourceError):
        raise trip.error(HopProtocolError, "the connection was closed before any answer", Cause.CLOSED) from None
    if not answer.startswith(VERSION):
        problem = f"{leg.target} answered, but it is no SOCKS5 server; name one that is"
        raise trip.error(HopProtocolError, problem, describe_opening(answer)[0])
    attempt.answered = True
