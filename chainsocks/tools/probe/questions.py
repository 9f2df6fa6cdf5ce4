"""What a hop can do beyond the walk: look names up, carry datagrams, take IPv6 addresses.

Each question is a walk of its own to that hop, under the limits of a dial, with one request at its end.

1. Nobody is disturbed: what is asked for is reserved, either the hop itself or nobody, and nothing is sent there. The
   destination of the probe is told to the last hop only, by the walk itself.
2. What the walk has shown already is not asked again.
3. An answer that can mean either is `Answer.UNKNOWN`, with what the hop said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import anyio
import trio

from chainsocks.chain.associate import relay_of
from chainsocks.chain.steps import follow, plan_to
from chainsocks.chain.trip import Trip
from chainsocks.config.chains import Route
from chainsocks.config.hops import Resolve
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, DialTimeout, HopRefused
from chainsocks.network import Network
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, ReplyCode, describe_reply
from chainsocks.tools.probe.walk import Walked

__all__ = ["Answer", "Finding", "Findings", "Question", "ask_hops"]

DISCARD = 9
"""The port to ask for: RFC 863's, where hardly anybody listens."""

LOCALHOST = Address("localhost", DISCARD)
"""A name that whoever looks names up finds, without asking anybody (RFC 6761 section 6.3)."""

NOBODY = Address("chainsocks.invalid", DISCARD)
"""A name that nobody has (RFC 6761 section 6.4), for hops that let nobody in to themselves."""

LOOPBACK = Address("::1", DISCARD)
"""An IPv6 address to which there is a way as soon as there is IPv6."""

NOWHERE = Address("2001:db8::1", DISCARD)
"""An IPv6 address that nobody has (RFC 3849), for the same hops; it may take them seconds to find that out."""


class Question(StrEnum):
    """What is asked about a hop."""

    NAMES = "names"
    """Whether it looks names up."""
    UDP = "udp"
    """Whether it opens an association for datagrams."""
    IPV6 = "ipv6"
    """Whether it takes IPv6 addresses."""


class Answer(StrEnum):
    """What is known now."""

    YES = "yes"
    NO = "no"
    UNDERSTOOD = "understood"
    """It takes such an address; whether it has a way to any is not known."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer, and what it was taken from."""

    answer: Answer
    why: str


Findings = Mapping[Question, Finding]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a hop made of a request: its reply code; without one, nothing is known but `said`."""

    said: str
    code: int | None = None
    was_no_answer: bool = False
    """Whether it did something else in place of an answer, such as to close the connection."""


async def ask_hops(
    walked: Walked, timeouts: Timeouts, network: Network, only: int | None = None
) -> Mapping[int, Findings]:
    """Ask all hops that have answered in a walk, or one, at the same time; return the findings by their places."""
    answered = range(1, walked.answered + 1)
    found: dict[int, dict[Question, Finding]] = {place: {} for place in answered if only in (None, place)}

    async def find(position: int, question: Question) -> None:
        known = _known(walked, position, question)
        found[position][question] = known or await _Asker(walked.route, position, timeouts, network).ask(question)

    async with trio.open_nursery() as nursery:
        for position in found:
            for question in Question:
                nursery.start_soon(find, position, question)
    return {position: {question: findings[question] for question in Question} for position, findings in found.items()}


def _known(walked: Walked, position: int, question: Question) -> Finding | None:
    """Return what needs no question: what the protocol rules out, and what the walk has shown."""
    hops = walked.route.hops
    hop = hops[position - 1]
    target = hops[position].address if position < len(hops) else walked.destination
    shown = target if position <= walked.passed and hop.resolve is Resolve.REMOTE else None
    kind = hop.kind
    if (question is Question.UDP and not kind.carries_udp) or (
        question is Question.IPV6 and not kind.carries(LOOPBACK)
    ):
        return Finding(Answer.NO, f"{hop.protocol} has none")
    if question is Question.NAMES:
        if not kind.carries(LOCALHOST):
            return Finding(Answer.NO, f"plain {hop.protocol} carries none")
        if hop.resolve is Resolve.LOCAL:
            return Finding(Answer.UNKNOWN, 'it is not asked for any: resolve = "local"')
        if shown and shown.type is AddressType.DOMAINNAME:
            return Finding(Answer.YES, f"it has connected to {shown}")
    if question is Question.IPV6 and shown and shown.type is AddressType.IPV6:
        return Finding(Answer.YES, f"it has connected to {shown}")
    return None


Judge = Callable[[_Outcome, _Outcome | None], Answer]
"""Makes an answer of what a hop said to a request, and to the one before it if there was one."""


@dataclass(frozen=True, slots=True)
class _Asker:
    """A hop, by its place in its route, and what it takes to put requests to it."""

    route: Route
    position: int
    timeouts: Timeouts
    network: Network

    async def ask(self, question: Question) -> Finding:
        match question:
            case Question.UDP:
                outcome = await self._put(UNSPECIFIED, Command.UDP_ASSOCIATE)
                return Finding(_judge_udp(outcome), outcome.said)
            case Question.IPV6:
                return await self._ask_for(LOOPBACK, NOWHERE, _judge_ipv6)
            case Question.NAMES:
                return await self._ask_for(LOCALHOST, NOBODY, _judge_names)

    async def _ask_for(self, first: Address, second: Address, judge: Judge) -> Finding:
        """Ask for `first`; and for `second` where that leaves the answer open."""
        outcome = await self._put(first)
        answer = judge(outcome, None)
        if answer is not Answer.UNKNOWN:
            return Finding(answer, outcome.said)
        another = await self._put(second)
        return Finding(judge(another, outcome), f"{outcome.said}; {another.said}")

    async def _put(self, destination: Address, command: Command = Command.CONNECT) -> _Outcome:
        """Walk to the hop, and put one request to it."""
        trip = Trip(self.route, destination, self.timeouts, self.network)
        asked = f"asked for {destination}" if command is Command.CONNECT else f"asked to {command.name}"
        try:
            said = await trip.run(partial(_put_request, command=command, position=self.position))
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
            return Answer.YES  # it has found none for what nobody has, and says so of nothing else
        case _:
            return Answer.UNKNOWN


async def _put_request(trip: Trip, command: Command, position: int) -> str:
    """Put one request to the hop at `position`, close the connection, and return the answer in words.

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
