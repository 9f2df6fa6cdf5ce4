"""What a hop can do beyond the walk: resolve names, carry datagrams, take IPv6 addresses.

Each question is a trip of its own to that hop, with the limits of a dial and one request at its end.

1. No machine is disturbed: the requests are for reserved names and addresses, which mean the hop itself or no machine,
   and no data is sent. The destination of the probe is told to the last hop only, by the walk.
2. What the walk has shown is not asked again.
3. An answer that can mean either is `Answer.UNKNOWN`, with what the hop replied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import anyio
import trio

from chainsocks.chain.associate import relay_of
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.steps import follow, plan_to
from chainsocks.chain.trip import Trip
from chainsocks.config.hops import Resolve
from chainsocks.errors import DialError, DialTimeout, HopRefused
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, ReplyCode, describe_reply
from chainsocks.tools.probe.walk import Walk

__all__ = ["Ability", "Answer", "Question", "ask_hop"]

DISCARD = 9
"""The port to ask for: RFC 863's, where hardly any server listens."""

LOCALHOST = Address("localhost", DISCARD)
"""A name that every hop which resolves names can resolve, without a name server (RFC 6761 section 6.3)."""

MISSING = Address("chainsocks.invalid", DISCARD)
"""A name that does not exist (RFC 6761 section 6.4), for hops that refuse connections to themselves."""

LOOPBACK = Address("::1", DISCARD)
"""An IPv6 address that can be reached as soon as there is IPv6."""

NOWHERE = Address("2001:db8::1", DISCARD)
"""An IPv6 address of no machine (RFC 3849), for the same hops; it may take them seconds to find that out."""


class Question(StrEnum):
    """What is asked about a hop."""

    NAMES = "names"
    """Whether it resolves names."""
    UDP = "udp"
    """Whether it opens an association for datagrams."""
    IPV6 = "ipv6"
    """Whether it takes IPv6 addresses."""


class Answer(StrEnum):
    """What is known now."""

    YES = "yes"
    NO = "no"
    UNDERSTOOD = "understood"
    """It takes such an address; whether it can reach any is not known."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ability:
    """An answer, and what shows it."""

    answer: Answer
    why: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a request: the hop's reply code, or None if there is no reply to it."""

    said: str
    code: int | None = None
    was_no_answer: bool = False
    """Whether the hop did something else in place of a reply, such as to close the connection."""


async def ask_hop(walk: Walk, position: int, dialer: Dialer) -> Mapping[Question, Ability]:
    """Ask the hop at a position of a walk, which has to have answered there, all questions at the same time."""
    found: dict[Question, Ability] = {}

    async def ask(question: Question) -> None:
        known = _known(walk, position, question)
        found[question] = known or await _Asker(walk, position, dialer).ask(question)

    async with trio.open_nursery() as nursery:
        for question in Question:
            nursery.start_soon(ask, question)
    return {question: found[question] for question in Question}


def _known(walk: Walk, position: int, question: Question) -> Ability | None:
    """Return what needs no question: what the protocol rules out, and what the walk has shown."""
    hops = walk.route.hops
    hop = hops[position - 1]
    kind = hop.kind
    target = hops[position].address if position < len(hops) else walk.destination
    shown = target if position <= walk.passed and hop.resolve is Resolve.REMOTE else None
    if (question is Question.UDP and not kind.carries_udp) or (
        question is Question.IPV6 and not kind.carries(LOOPBACK)
    ):
        return Ability(Answer.NO, f"{hop.protocol} has none")
    if question is Question.NAMES:
        if not kind.carries(LOCALHOST):
            return Ability(Answer.NO, f"plain {hop.protocol} carries none")
        if hop.resolve is Resolve.LOCAL:
            return Ability(Answer.UNKNOWN, 'it is not asked for any: resolve = "local"')
        if shown and shown.type is AddressType.DOMAINNAME:
            return Ability(Answer.YES, f"it has connected to {shown}")
    if question is Question.IPV6 and shown and shown.type is AddressType.IPV6:
        return Ability(Answer.YES, f"it has connected to {shown}")
    return None


Judge = Callable[[_Outcome, _Outcome | None], Answer]
"""Decides an answer by what came of a request, and of the one before it if there was one."""


@dataclass(frozen=True, slots=True)
class _Asker:
    """Sends requests to one hop of a walk."""

    walk: Walk
    position: int
    dialer: Dialer

    async def ask(self, question: Question) -> Ability:
        match question:
            case Question.UDP:
                outcome = await self._request(UNSPECIFIED, Command.UDP_ASSOCIATE)
                return Ability(_judge_udp(outcome), outcome.said)
            case Question.IPV6:
                return await self._ask_for(LOOPBACK, NOWHERE, _judge_ipv6)
            case Question.NAMES:
                return await self._ask_for(LOCALHOST, MISSING, _judge_names)

    async def _ask_for(self, first: Address, second: Address, judge: Judge) -> Ability:
        """Ask for `first`; and for `second` where that leaves the answer open."""
        outcome = await self._request(first)
        answer = judge(outcome, None)
        if answer is not Answer.UNKNOWN:
            return Ability(answer, outcome.said)
        another = await self._request(second)
        return Ability(judge(another, outcome), f"{outcome.said}; {another.said}")

    async def _request(self, destination: Address, command: Command = Command.CONNECT) -> _Outcome:
        """Make a trip to the hop, and send it one request."""
        trip = self.dialer.trip(self.walk.route, destination)
        asked = f"asked for {destination}" if command is Command.CONNECT else f"asked to {command.name}"
        try:
            said = await trip.run(partial(_send_request, command=command, position=self.position))
        except DialError as error:
            return _explain(trip, error, asked)
        return _Outcome(f"{asked} it said: {said}", ReplyCode.SUCCEEDED)


def _judge_udp(outcome: _Outcome) -> Answer:
    match outcome.code:
        case ReplyCode.SUCCEEDED:
            return Answer.YES
        case ReplyCode.COMMAND_NOT_SUPPORTED | ReplyCode.NOT_ALLOWED_BY_RULESET:
            return Answer.NO
        case None if outcome.was_no_answer:
            return Answer.NO
        case _:
            return Answer.UNKNOWN


def _judge_ipv6(outcome: _Outcome, before: _Outcome | None) -> Answer:
    match outcome.code:
        case ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED:
            return Answer.NO
        case (
            ReplyCode.SUCCEEDED
            | ReplyCode.NETWORK_UNREACHABLE
            | ReplyCode.HOST_UNREACHABLE
            | ReplyCode.CONNECTION_REFUSED
            | ReplyCode.TTL_EXPIRED
        ):
            return Answer.UNDERSTOOD
        case _:
            return Answer.UNKNOWN


def _judge_names(outcome: _Outcome, before: _Outcome | None) -> Answer:
    match outcome.code:
        case ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED:
            return Answer.NO
        case ReplyCode.SUCCEEDED | ReplyCode.CONNECTION_REFUSED if before is None:
            return Answer.YES  # it has found an address for localhost
        case ReplyCode.HOST_UNREACHABLE if before and before.code not in (None, outcome.code):
            return Answer.YES  # of the missing name alone it says that it is not found
        case _:
            return Answer.UNKNOWN


async def _send_request(trip: Trip, command: Command, position: int) -> str:
    """Send one request to the hop at `position`, close the connection, and return the reply in words.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    plan = plan_to(trip, trip.destination, command, position)
    way = await follow(trip, plan)
    try:
        if command is Command.UDP_ASSOCIATE:
            relay_of(trip, plan[-1], way.stream, way.reply.bound)
    finally:
        await anyio.aclose_forcefully(way.stream)
    return describe_reply(way.reply.code)


def _explain(trip: Trip, error: DialError, asked: str) -> _Outcome:
    """Say what is known of the hop after a failure; that is nothing where another one failed."""
    leg = trip.leg
    if leg is None or leg.next or trip.step != State.REQUEST:
        return _Outcome(f"it could not be asked: {error}")
    if isinstance(error, HopRefused):
        return _Outcome(f"{asked} it said: {describe_reply(error.code)}", error.code)
    if isinstance(error, DialTimeout):
        return _Outcome(f"{asked} it said nothing within {error.limit:g} s")
    return _Outcome(f"{asked}: {error.problem}", was_no_answer=True)
