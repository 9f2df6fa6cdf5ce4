"""What a hop can do beyond the walk: resolve names, carry datagrams, take IPv6 addresses.

Each question is a trip of its own to that hop, with the limits of a dial and one request at its end.

1. No machine is disturbed: the requests are for reserved names and addresses, which mean the hop itself or no machine,
   and no data is sent. The destination of the probe is sent to the last hop only, by the walk.
2. What the walk has shown is not asked again.
3. An answer that can mean either is `Answer.UNKNOWN`, with what the hop replied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import trio

from chainsocks.chain.associate import relay_of
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.steps import follow, plan_to
from chainsocks.chain.trip import Trip
from chainsocks.config.choices import Resolve
from chainsocks.errors import DialError, DialTimeout, HopRefused
from chainsocks.net.tls import end_and_close
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, ReplyCode, describe_reply
from chainsocks.tools.probe.walk import LOCALHOST, Walk

__all__ = ["Ability", "Answer", "Question", "ask_hop"]

DISCARD = LOCALHOST.port
"""The port to ask for."""

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


_ANSWERS: Mapping[Question, Mapping[int, Answer]] = {
    Question.NAMES: {
        ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: Answer.NO,
        ReplyCode.SUCCEEDED: Answer.YES,
        ReplyCode.CONNECTION_REFUSED: Answer.YES,  # it has found an address for localhost
    },
    Question.UDP: {
        ReplyCode.SUCCEEDED: Answer.YES,
        ReplyCode.COMMAND_NOT_SUPPORTED: Answer.NO,
        ReplyCode.NOT_ALLOWED_BY_RULESET: Answer.NO,
    },
    Question.IPV6: {
        ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: Answer.NO,
        ReplyCode.SUCCEEDED: Answer.UNDERSTOOD,
        ReplyCode.NETWORK_UNREACHABLE: Answer.UNDERSTOOD,
        ReplyCode.HOST_UNREACHABLE: Answer.UNDERSTOOD,
        ReplyCode.CONNECTION_REFUSED: Answer.UNDERSTOOD,
        ReplyCode.TTL_EXPIRED: Answer.UNDERSTOOD,
    },
}
"""What a reply to the first request shows. Every other reply leaves the question open."""

_REQUESTS: Mapping[Question, tuple[Address, ...]] = {
    Question.NAMES: (LOCALHOST, MISSING),
    Question.UDP: (UNSPECIFIED,),
    Question.IPV6: (LOOPBACK, NOWHERE),
}
"""What to ask for, and what then if that leaves the question open."""


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
        found[question] = known or await _ask(walk, position, question, dialer)

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


async def _ask(walk: Walk, position: int, question: Question, dialer: Dialer) -> Ability:
    """Send the requests for a question until it is answered."""
    outcomes: list[_Outcome] = []
    answer = Answer.UNKNOWN
    for target in _REQUESTS[question]:
        if answer is Answer.UNKNOWN:
            outcomes.append(await _request(walk, position, question, target, dialer))
            answer = _answer(question, outcomes)
    return Ability(answer, "; ".join(outcome.said for outcome in outcomes))


def _answer(question: Question, outcomes: Sequence[_Outcome]) -> Answer:
    """Decide an answer by what came of the requests so far."""
    *before, last = outcomes
    if question is Question.UDP and last.was_no_answer:
        return Answer.NO
    if question is Question.NAMES and before and last.code != ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED:
        # A hop that resolves names reports of the missing one alone that it is not found.
        tells_apart = last.code == ReplyCode.HOST_UNREACHABLE and before[0].code not in (None, last.code)
        return Answer.YES if tells_apart else Answer.UNKNOWN
    return _ANSWERS[question].get(last.code, Answer.UNKNOWN) if last.code is not None else Answer.UNKNOWN


async def _request(walk: Walk, position: int, question: Question, target: Address, dialer: Dialer) -> _Outcome:
    """Make a trip to the hop, and send it one request."""
    command = Command.UDP_ASSOCIATE if question is Question.UDP else Command.CONNECT
    asked = f"asked for {target}" if command is Command.CONNECT else f"asked to {command.name}"
    trip = dialer.trip(walk.route, target)
    try:
        said = await trip.run(partial(_send_request, command=command, position=position))
    except DialError as error:
        return _explain(trip, error, asked)
    return _Outcome(f"{asked} it said: {said}", ReplyCode.SUCCEEDED)


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
        await end_and_close(way.stream)
    return describe_reply(way.reply.code)


def _explain(trip: Trip, error: DialError, asked: str) -> _Outcome:
    """Say what is known of the hop after a failure; that is nothing where another one failed."""
    leg = trip.leg
    if leg is None or leg.next or trip.step != State.REQUEST:
        return _Outcome(f"it could not be asked: {error}")
    if isinstance(error, HopRefused):
        return _Outcome(error.problem, error.code)
    if isinstance(error, DialTimeout):
        return _Outcome(f"{asked} it said nothing within {error.limit:g} s")
    return _Outcome(f"{asked}: {error.problem}", was_no_answer=True)
