"""tor's RESOLVE and RESOLVE_PTR: look up a name, or the name of an address, the way that a chain's connections go.

The chain decides which resolver answers (`resolver_of`):

1. An IP address that is to be resolved is its own answer, as tor has it.
2. A direct chain asks the resolver of this machine, and so does one whose last hop has ``resolve = "local"``.
3. A last hop with ``tor = true`` is sent the command, and its answer is passed on, refusals with their codes.
4. Otherwise the chain's `resolver` is asked, in DNS over TCP through all hops (`chainsocks.chain.dns_stream`). If it
   cannot be reached, that is a general failure, since the client did not name it.
5. Otherwise the request is refused. No name ever goes around a hop.

Of a name with addresses of both families, an IPv4 one is reported. The way to the resolver has the limits of a dial,
and its answer `resolve` seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from chainsocks.chain.dns_stream import Question, ask, dialect
from chainsocks.chain.operations import Upstream, open_connection
from chainsocks.chain.readiness import carry_out
from chainsocks.chain.steps import plan_to
from chainsocks.chain.steps import resolve as resolve_locally
from chainsocks.chain.trip import OPEN, RESOLVE, Trip
from chainsocks.config.chains import Route
from chainsocks.config.choices import Resolve
from chainsocks.errors import (
    Cause,
    ConnectError,
    End,
    HopProtocolError,
    NotFoundError,
    ProtocolError,
    RequestRefused,
    ResolverError,
)
from chainsocks.net.tls import end_and_close
from chainsocks.protocol.address import Address, AddressType, canonical, printable
from chainsocks.protocol.messages import Command, ReplyCode

__all__ = ["Resolver", "resolve", "resolver_of"]


class Resolver(Enum):
    """What answers a lookup."""

    NONE_NEEDED = auto()
    THIS_MACHINE = auto()
    LAST_HOP = auto()
    BEHIND_CHAIN = auto()


def resolver_of(route: Route, command: Command, subject: Address) -> Resolver:
    """Decide what answers `command` for `subject`.

    Raises:
        RequestRefused: this chain has no resolver, or the command does not fit the subject.
    """
    is_name = subject.type is AddressType.DOMAINNAME
    if command is Command.RESOLVE_PTR and is_name:
        problem = f"RESOLVE_PTR asks for the name of an IP address, which {printable(subject.host)} is not"
        discreet = "RESOLVE_PTR asks for the name of an IP address, and the client has sent a name"
        raise RequestRefused(problem, ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED, discreet=discreet)
    if command is Command.RESOLVE and not is_name:
        return Resolver.NONE_NEEDED
    last = route.hops[-1] if route.hops else None
    if last and last.resolve is Resolve.LOCAL:
        return Resolver.THIS_MACHINE
    if last and last.tor:
        return Resolver.LAST_HOP
    if route.chain.resolver:
        return Resolver.BEHIND_CHAIN
    if last is None:
        return Resolver.THIS_MACHINE
    problem = f"chain {route.chain.name} has no resolver; set its resolver, or tor = true on its last hop"
    raise RequestRefused(problem, ReplyCode.COMMAND_NOT_SUPPORTED)


async def resolve(trip: Trip, command: Command = Command.RESOLVE) -> Address:
    """Return the address of the trip's destination, or with `Command.RESOLVE_PTR` its name; the port is 0.

    Raises:
        DialError: one of its subclasses, by cause.
        RequestRefused: this chain has no resolver, or the command does not fit the destination.
    """
    subject = Address(trip.destination.host, 0)
    resolver = resolver_of(trip.route, command, subject)
    trip.head_for(subject)
    match resolver:
        case Resolver.NONE_NEEDED:
            answer = subject
        case Resolver.THIS_MACHINE:
            answer = await _ask_this_machine(trip, command, subject)
        case Resolver.LAST_HOP:
            answer = await _ask_last_hop(trip, command, subject)
        case Resolver.BEHIND_CHAIN:
            answer = await _ask_behind_chain(trip, command, subject)
    trip.enter(None, OPEN)
    return answer


async def _ask_this_machine(trip: Trip, command: Command, subject: Address) -> Address:
    if command is Command.RESOLVE:
        try:
            found = await resolve_locally(trip, None, subject)
        except ConnectError as error:
            raise trip.error(ResolverError, error.problem, error.cause, at_destination=True) from error
        wanted = trip.route.chain.family
        return canonical(found[0] if wanted else min(found, key=lambda address: address.type))
    trip.allow(trip.timeouts.resolve, subject)
    trip.enter(None, RESOLVE)
    try:
        name = await trip.network.name_of(subject, trip.client)
    except OSError as error:
        problem = f"no name for {subject.host}: {error.strerror or error}"
        raise trip.error(ResolverError, problem, Cause.NAME_NOT_FOUND, at_destination=True) from error
    return _usable(trip, command, subject, name)


async def _ask_last_hop(trip: Trip, command: Command, subject: Address) -> Address:
    way = await carry_out(trip, plan_to(trip, subject, command))
    await end_and_close(way.stream)
    answer = way.reply.bound
    is_name = answer.type is AddressType.DOMAINNAME
    if is_name is not (command is Command.RESOLVE_PTR):
        wanted = "an IP address" if is_name else "a name"
        problem = f"it answered {command.name} with {answer}, which is not {wanted}"
        raise trip.error(HopProtocolError, problem, Cause.UNUSABLE)
    return Address(answer.host, 0)


async def _ask_behind_chain(trip: Trip, command: Command, subject: Address) -> Address:
    resolver = trip.route.chain.resolver
    if resolver is None:
        raise RuntimeError("the chain has no resolver")
    trip.head_for(resolver, End.RESOLVER)
    try:
        questions = dialect().questions(command, subject)
    except ValueError as error:
        trip.enter(None, RESOLVE)
        problem = f"{printable(subject.host)} cannot be looked up: {error}"
        raise trip.error(ResolverError, problem, Cause.NAME_NOT_FOUND, at_destination=True) from None
    upstream = await open_connection(trip)
    try:
        return await _converse(trip, upstream, questions, command, subject)
    finally:
        await end_and_close(upstream.stream)


async def _converse(
    trip: Trip, upstream: Upstream, questions: Sequence[Question], command: Command, subject: Address
) -> Address:
    trip.end_dial()
    trip.allow(trip.timeouts.resolve, subject)
    trip.enter(None, RESOLVE)
    seen = f" (as seen through {trip.route.hops[-1].name})" if trip.route.hops else ""
    try:
        answer = await ask(upstream.stream, upstream.trailing_data, questions)
    except NotFoundError as error:
        problem = f"no answer for {printable(subject.host)}: {error}"
        own = error.cause is Cause.NAME_NOT_FOUND
        raise trip.error(ResolverError, problem, error.cause, at_destination=own) from None
    except ProtocolError as error:
        raise trip.error(ResolverError, f"{error}{seen}", error.cause) from None
    return _usable(trip, command, subject, answer)


def _usable(trip: Trip, command: Command, subject: Address, answer: str) -> Address:
    """Return what a resolver has found, if a reply can carry it. Anyone can put any bytes there for their address."""
    is_ptr = command is Command.RESOLVE_PTR
    try:
        found = Address(answer, 0)
        if is_ptr and found.type is not AddressType.DOMAINNAME:
            raise ValueError("it is called by an address")
    except ValueError as error:
        problem = f"no name for {subject.host}: {error}"
        raise trip.error(ResolverError, problem, Cause.NAME_NOT_FOUND, at_destination=True) from None
    return found
