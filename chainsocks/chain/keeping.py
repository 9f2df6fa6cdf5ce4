"""Find out whether a hop keeps what it is sent ahead of its answers, and so whether it may be pipelined.

The hop is asked to connect to a target that answers a SOCKS greeting; its own address will do, for a proxy may be asked
for itself. That is done three times, on a connection of its own each: in order, which shows that it works at all; with
greeting, login and request at once; and with a greeting for the target right behind these.

1. Nothing of a client's is at stake, and each attempt is bounded by the limits of a dial.
2. The hop's login goes to the hop alone, and together with its greeting only after it has been accepted in order. The
   target is sent a greeting without a login, and no more. The hops before are never pipelined here.
3. Only what a hop did in order, and does not do at once, is held against it: whatever else goes wrong is `UNKNOWN`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import anyio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.chain.legs import Leg, open_handshake
from chainsocks.chain.network import CancelScope, Network
from chainsocks.chain.walk import Walk
from chainsocks.config.chains import Chain, Route
from chainsocks.config.hops import Hop, HopProtocol, Pipeline, Resolve
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, DialError, HopAuthenticationError, HopProtocolError, Step
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.errors import describe_opening
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import State

__all__ = ["Finding", "Keeping", "find_keeping"]

GREETING, VERSION = b"\x05\x01\x00", b"\x05"
"""What the target is sent, and what its answer begins with, whether it accepts that or not (RFC 1928 section 3)."""


class Keeping(StrEnum):
    """What becomes of messages that a hop has not asked for yet."""

    KEEPS = "keeps"
    LOSES = "loses"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a hop."""

    own: Keeping
    """Its own messages, all at once: what `Pipeline.HOP` needs."""
    behind: Keeping
    """What comes right behind its request: what `Pipeline.CHAIN` needs beside that."""
    reason: str = ""
    """Why something is not kept, or not known."""

    @property
    def pipeline(self) -> Pipeline:
        """The most that the hop is known to be fit for."""
        if self.own is not Keeping.KEEPS:
            return Pipeline.OFF
        return Pipeline.CHAIN if self.behind is Keeping.KEEPS else Pipeline.HOP


async def find_keeping(
    hop: Hop, timeouts: Timeouts, network: Network, *, before: Route | None = None, target: Address | None = None
) -> Finding:
    """Find out what `hop`, which is reached through the hops of `before`, keeps.

    `target` is a SOCKS5 server for the hop to connect to, by default the hop itself. A hop that loses something is
    known by its silence: that takes as long as its limit, ``timeouts.hop`` or its own.
    """
    if isinstance(hop.credentials, Gssapi):
        return Finding(
            Keeping.UNKNOWN, Keeping.UNKNOWN, "a login by GSSAPI is a conversation: nothing goes ahead of it"
        )
    hops = tuple(replace(one, pipeline=Pipeline.OFF) for one in (*(before.hops if before else ()), hop))
    route, target = Route(Chain(*hops), hops), target or hop.address

    async def attempt(pipeline: Pipeline, ahead: bytes = b"") -> _Attempt:
        walk = _Attempt(route, target, timeouts, network)
        try:
            with network.open_scope(math.inf) as scope:
                await walk.attempt(scope, pipeline, ahead)
            if scope.cancelled_caught:
                raise walk.timeout()
        except DialError as error:
            walk.error = error
        return walk

    in_order = await attempt(Pipeline.OFF)
    if not in_order.replied:
        return Finding(Keeping.UNKNOWN, Keeping.UNKNOWN, str(in_order.error))
    if hop.protocol is HopProtocol.SOCKS5:
        at_once = await attempt(Pipeline.HOP)
        if not (at_once.answered if in_order.answered else at_once.replied):
            return Finding(at_once.verdict, Keeping.UNKNOWN, str(at_once.error))
    if not in_order.answered:
        return Finding(Keeping.KEEPS, Keeping.UNKNOWN, str(in_order.error))
    glued = await attempt(Pipeline.HOP, GREETING)
    if glued.answered:
        return Finding(Keeping.KEEPS, Keeping.KEEPS)
    return Finding(Keeping.KEEPS, glued.verdict, str(glued.error))


class _Attempt(Walk):
    """One way to the hop and, through it, to the target."""

    __slots__ = ("answered", "error", "reached", "replied")

    def __init__(self, route: Route, target: Address, timeouts: Timeouts, network: Network) -> None:
        super().__init__(route, target, timeouts, network)
        self.reached = self.replied = self.answered = False
        """How far it came: to the hop, to its answer to our request, and to the target's to its greeting."""
        self.error: DialError | None = None

    @property
    def verdict(self) -> Keeping:
        """What it means that this attempt came to nothing, where the one in order did not."""
        at_the_hop = self.reached and not isinstance(self.error, HopAuthenticationError)
        return Keeping.LOSES if at_the_hop else Keeping.UNKNOWN

    async def attempt(self, scope: CancelScope, pipeline: Pipeline, ahead: bytes) -> None:
        """Go as far as the target's answer, inside `scope`; when that cuts it short, raise `timeout` behind it.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        self._scope = scope
        *before, leg = self._plan(self._destination, self.command)
        if problem := leg.hop.cannot_carry(leg.target):
            self._at(leg, State.REQUEST)
            raise self._unsupported(leg, problem)
        stream, _, said = await self._follow(before)
        try:
            if said:
                problem = f"{len(said)} bytes came behind its reply, unasked"
                raise self._error(HopProtocolError, problem, Cause.UNSOLICITED)
            self.reached = True
            await self._ask_for_target(leg, stream, pipeline, ahead)
        finally:
            await anyio.aclose_forcefully(stream)

    async def _connect(self, first: Leg | None) -> ByteStream:
        return await super()._connect(first or self._plan(self._destination, self.command)[0])

    async def _ask_for_target(self, leg: Leg, stream: ByteStream, pipeline: Pipeline, ahead: bytes) -> None:
        if leg.hop.resolve is Resolve.LOCAL and leg.target.type is AddressType.DOMAINNAME:
            leg = await self._resolved(leg)
        handshake = open_handshake(leg.hop, leg.target, pipeline=pipeline)
        limit = self._timeouts.hop if leg.hop.timeout is None else leg.hop.timeout
        self._allow(limit, leg.target)
        await self._negotiate(leg, handshake, stream, ahead)
        self.replied = True
        if not handshake.reply.succeeded:
            raise self._refusal(leg, handshake.reply)
        self._at(leg, Step.AFTER_REPLY)
        self._allow(limit, leg.target)
        said = handshake.trailing_data
        try:
            if not ahead:
                await stream.send(GREETING)
            said = said or await stream.receive()
        except (EndOfStream, BrokenResourceError):
            problem = "the connection was closed before any answer"
            raise self._error(HopProtocolError, problem, Cause.CLOSED) from None
        if not said.startswith(VERSION):
            problem = f"{leg.target} answered, but it is no SOCKS5 server; name one that is"
            raise self._error(HopProtocolError, problem, describe_opening(said)[0])
        self.answered = True
