"""The steps that the operations of a trip share: resolve a name, connect, negotiate with one hop, follow a plan.

1. No hop of a plan is ever left out, and a chain never becomes direct.
2. Where the chain has `send_proxy`, a PROXY protocol header is the first thing on the connection, in one write with
   the first message where the plan has one.
3. Bytes behind the last hop's reply are returned, or with `Trip.receives_exactly` not received. A middle hop may send
   nothing behind its reply, unless the next hop was asked along with it: then they are the next hop's answer.
4. When a step fails, what it opened is closed before the error leaves.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import anyio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.connect_errors import errno_of, explain_connect_error
from chainsocks.chain.eyeballs import OpenTCP, connect_first
from chainsocks.chain.gssapi import HopLogin
from chainsocks.chain.legs import Leg, legs, open_handshake
from chainsocks.chain.pipeline import flights
from chainsocks.chain.trip import CONNECT, RESOLVE, Guard, Trip
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, Pipeline, Resolve
from chainsocks.config.hops import Hop
from chainsocks.config.tls import Tls, context_of
from chainsocks.egress import Egress, Family
from chainsocks.errors import (
    Cause,
    ConnectError,
    DialError,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    HopTlsError,
    Step,
    UnsupportedAddress,
)
from chainsocks.gss.stream import CapsuleError
from chainsocks.net.tls import TlsError, TlsStream, end_layers
from chainsocks.network import Rest, reset_on_close
from chainsocks.protocol import socks5
from chainsocks.protocol.address import (
    UNSPECIFIED,
    Address,
    AddressType,
    UnixAddress,
    address_of,
    interleave,
    printable,
)
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import ClientHandshake, State
from chainsocks.protocol.messages import Command, IsolationLogin, Reply, ReplyCode

__all__ = [
    "Followed",
    "broken",
    "check_targets",
    "connect",
    "connect_error",
    "follow",
    "hop_limit",
    "negotiate",
    "plan_to",
    "refusal",
    "resolve",
    "start_tls",
    "unasked",
    "unsupported",
    "with_address",
]

DONE = State.DONE
LOCAL, DOMAINNAME = Resolve.LOCAL, AddressType.DOMAINNAME  # looked up once: every dial asks for them
SUCCEEDED = ReplyCode.SUCCEEDED


def plan_to(
    trip: Trip, target: Address, command: Command = Command.CONNECT, stop: int | None = None
) -> tuple[Leg, ...]:
    """Plan the way to `target`, or as far as the hop at position `stop` (from 1)."""
    route = trip.route
    return legs(route.hops, target, command, stop, route.chain.pipeline)


class Followed(NamedTuple):
    """What came of a plan. Its caller closes `stream`."""

    stream: ByteStream
    reply: Reply
    """The last hop's; success from the local address where the plan has no hop."""
    trailing_data: bytes
    """What came behind the last hop's reply."""
    handshake: ClientHandshake | None
    """The last hop's."""


async def follow(trip: Trip, plan: Sequence[Leg], start: Leg | None = None) -> Followed:
    """Connect, and have each hop of `plan` do what its leg says.

    `start` is the leg whose hop to connect to, by default the first of `plan`; without either, the destination.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    check_targets(trip, plan)
    first = start or (plan[0] if plan else None)
    stream = await connect(trip, first)
    try:
        header = trip.proxy_header if trip.route.chain.send_proxy else b""
        if header and not plan:
            await _send_header(trip, first, stream, header)
        reply, trailing_data = Reply(SUCCEEDED, UNSPECIFIED if plan else _local_address(stream)), b""
        handshake: ClientHandshake | None = None
        for flight in flights(plan):
            if trailing_data:
                raise unasked(trip, trailing_data)
            asked, ahead = await _open_handshakes(trip, flight)
            for leg, handshake in asked:
                trip.allow(hop_limit(trip, leg), leg.target)
                stream = await negotiate(trip, leg, handshake, stream, ahead, trailing_data, header)
                reply, trailing_data = handshake.reply, handshake.trailing_data
                if not reply.succeeded:
                    raise refusal(trip, leg, reply)
                header = ahead = b""
    except BaseException as error:
        if trip.is_abandoned:
            reset_on_close(stream)
        elif isinstance(error, HopRefused | HopAuthenticationError):
            end_layers(stream)  # the hops before it have done what they were asked to
        await anyio.aclose_forcefully(stream)
        raise
    trip.completed = True
    return Followed(stream, reply, trailing_data, handshake)


def check_targets(trip: Trip, plan: Sequence[Leg]) -> None:
    """Check that each hop of `plan` can be asked for its target, before anything is sent.

    Raises:
        UnsupportedAddress: one cannot.
    """
    for leg in plan:
        if problem := leg.hop.cannot_carry(leg.target):
            trip.enter(leg, State.REQUEST)
            raise unsupported(trip, leg, problem)


async def connect(trip: Trip, first: Leg | None) -> ByteStream:
    """Connect to the hop of `first`, or to the destination."""
    way: Hop | Chain = first.hop if first else trip.route.chain
    address = first.hop.address if first else trip.destination
    egress, family = way.egress, way.family or trip.route.chain.family
    addresses: Sequence[Address] = (address,)
    rest: Rest | None = None
    if address.type is DOMAINNAME:
        if isinstance(address, UnixAddress):
            family = None
        else:
            addresses = await resolve(trip, first, address, family)
            rest = _rest_of(trip, first, address)
    if trip.guard:
        addresses = _allowed(trip, trip.guard, first, address, addresses)
    open_tcp: OpenTCP = trip.network.open_tcp
    if egress or family:
        addresses = _fitting(trip, first, addresses, egress, family)
        rest = _only(rest, lambda found: _misfit(found, egress, family) is None)
        open_tcp = partial(trip.network.open_tcp, egress=egress)
    trip.allow(trip.timeouts.connect, address)
    trip.enter(first, CONNECT)
    try:
        return await connect_first(addresses, open_tcp, rest)
    except BaseException as error:
        if address.type is DOMAINNAME:
            trip.network.forget(address)
        if not isinstance(error, OSError):  # a time-out comes as a cancellation
            raise
        raise connect_error(trip, first, error) from error


def connect_error(trip: Trip, first: Leg | None, error: OSError) -> ConnectError:
    """Return the error of a TCP connect that has failed, of this place and time."""
    problem, cause = explain_connect_error(error)
    own = first is None and trip.is_for_client
    return trip.error(ConnectError, problem, cause, at_destination=own, errno=errno_of(error))


def _allowed(
    trip: Trip, guard: Guard, first: Leg | None, destination: Address, addresses: Sequence[Address]
) -> Sequence[Address]:
    """Return those of `addresses` that the guard lets through.

    Raises:
        ConnectError: there are none.
    """
    problems = [guard(destination, address, first is not None) for address in addresses]
    allowed = [address for address, problem in zip(addresses, problems, strict=True) if problem is None]
    if not allowed:
        trip.enter(first, CONNECT)
        problem = next(filter(None, problems), "it has no address")
        raise trip.error(ConnectError, problem, Cause.NOT_ALLOWED, at_destination=first is None)
    return allowed


def _rest_of(trip: Trip, first: Leg | None, name: Address) -> Rest | None:
    """Return what waits for the other addresses of a name that was resolved just now, as far as the guard allows."""
    if _known(trip, name) is not None:
        return None
    wait, guard = trip.network.rest_of(name), trip.guard
    return wait if guard is None else _only(wait, lambda address: guard(name, address, first is not None) is None)


def _only(wait: Rest | None, fits: Callable[[Address], bool]) -> Rest | None:
    """Return what waits for those addresses only that fit."""
    if wait is None:
        return None

    async def fitting() -> list[Address]:
        return [address for address in await wait() if fits(address)]

    return fitting


def _fitting(
    trip: Trip, first: Leg | None, addresses: Sequence[Address], egress: Egress | None, family: Family | None
) -> Sequence[Address]:
    """Return those of `addresses` that may be connected to from here.

    Raises:
        ConnectError: there are none.
    """
    problems = [_misfit(address, egress, family) for address in addresses]
    fitting = [address for address, problem in zip(addresses, problems, strict=True) if problem is None]
    if not fitting:
        trip.enter(first, CONNECT)
        problem, cause = next(filter(None, problems), ("it has no address", Cause.NAME_NOT_FOUND))
        raise trip.error(ConnectError, problem, cause, at_destination=first is None and trip.is_for_client)
    return fitting


def _misfit(address: Address, egress: Egress | None, family: Family | None) -> tuple[str, Cause] | None:
    """Say why an IP address may not be connected to by that way out; None when it may be."""
    if family and not family.allows(address):
        return f'{address.host} is not of the family "{family}", which is the only one allowed', Cause.NO_ADDRESS_FAMILY
    if egress and not egress.reaches(address):
        return f"{egress}: of another family than {address.host}", Cause.NO_LOCAL_PORT
    return None


def _known(trip: Trip, name: Address) -> Sequence[Address] | None:
    return trip.known.get(name.host) if trip.known else None


async def resolve(trip: Trip, leg: Leg | None, name: Address, family: Family | None = None) -> list[Address]:
    """Resolve a name on this machine, and return its addresses in the order to try them.

    They are of `family`, by default that of the chain.
    """
    family = family or trip.route.chain.family
    if (known := _known(trip, name)) is not None:
        found = [Address(address.host, name.port, scope=address.scope) for address in known]
        return interleave(family.arrange(found) if family else found)
    trip.allow(trip.timeouts.resolve, name)
    trip.enter(leg, RESOLVE)
    try:
        found = await trip.network.resolve(name, trip.client)
        if family:
            found = await _of_family(trip, name, family, found)
        return interleave(found)
    except OSError as error:
        problem = f"no address for {printable(name.host)}: {error.strerror or error}"
        own = name is trip.destination and trip.is_for_client
        is_answer = isinstance(error, socket.gaierror)
        cause = Cause.NAME_NOT_FOUND if is_answer else explain_connect_error(error)[1]
        raise trip.error(ConnectError, problem, cause, at_destination=own) from error


async def _of_family(trip: Trip, name: Address, family: Family, found: list[Address]) -> list[Address]:
    """Return the addresses that `family` allows, its first ones first. Wait for later ones if these are none."""
    arranged = family.arrange(found)
    if not arranged and (rest := trip.network.rest_of(name)):
        arranged = family.arrange(await rest())
    if not arranged:
        raise socket.gaierror(socket.EAI_NONAME, f'it has none of the family "{family}", the only one allowed')
    return arranged


async def _send_header(trip: Trip, first: Leg | None, stream: ByteStream, header: bytes) -> None:
    """Send a PROXY protocol header that no message of this plan follows."""
    try:
        await stream.send(header)
    except BrokenResourceError:
        own = first is None and trip.is_for_client
        problem = "the connection was reset before its PROXY protocol header was sent"
        raise trip.error(ConnectError, problem, Cause.RESET, at_destination=own) from None


async def _open_handshakes(trip: Trip, flight: Sequence[Leg]) -> tuple[list[tuple[Leg, ClientHandshake]], bytes]:
    """Begin the handshakes of one flight, whose hops are asked at once; return what the later ones send ahead, too."""
    asked: list[tuple[Leg, ClientHandshake]] = []
    ahead = b""
    for leg in flight:
        if leg.hop.resolve is LOCAL and leg.target.type is DOMAINNAME:
            leg = await with_address(trip, leg)
        handshake = open_handshake(leg.hop, leg.target, leg.command, leg.pipeline)
        if asked:
            ahead += handshake.data_to_send()
        asked.append((leg, handshake))
    return asked, ahead


async def with_address(trip: Trip, leg: Leg) -> Leg:
    """Resolve the target of a leg, and return the leg with an address that its hop can carry."""
    hop, target = leg.hop, leg.target
    usable = [found for found in await resolve(trip, leg, target) if not hop.cannot_carry(found)]
    if not usable:
        raise unsupported(trip, leg, f"{target} has no address that {hop.protocol} can carry")
    return leg._replace(target=usable[0])


def hop_limit(trip: Trip, leg: Leg) -> float:
    """Return the seconds that the hop of a leg has for its whole negotiation."""
    own = leg.hop.timeout
    return trip.timeouts.hop if own is None else own


async def negotiate(
    trip: Trip,
    leg: Leg,
    handshake: ClientHandshake,
    stream: ByteStream,
    ahead: bytes = b"",
    received: bytes = b"",
    header: bytes = b"",
    *,
    is_new: bool = True,
) -> ByteStream:
    """Drive a handshake to its end: one send and one receive for each message, as far as the kernel allows.

    `header` goes before the first message, and before TLS; `ahead` goes behind the first message. `received` holds
    bytes that the hop has sent already. Unless `is_new`, the hop has done a handshake on `stream` before. Return the
    stream to go on with, which TLS and GSSAPI may wrap.

    Raises:
        DialError: the hop broke the protocol or the connection, or refused the login.
    """
    secured: TlsStream | None = None
    if leg.hop.tls and is_new:
        stream = secured = await start_tls(trip, leg, leg.hop.tls, stream, header)
        header = b""
    login = leg.hop.credentials
    by_gssapi = HopLogin(login, leg.hop.address.host, leg.command) if isinstance(login, Gssapi) else None
    traced = trip.traced
    # Behind the reply of any other hop nothing may come. What does come there is received, so that it is found.
    exact, first = trip.receives_exactly and (leg.next is None or leg.pipeline is Pipeline.CHAIN), True
    try:
        while handshake.state is not DONE:
            trip.enter(leg, handshake.state)
            if request := header + handshake.data_to_send() + ahead:
                header = ahead = b""
                if traced:
                    trip.trace(">", request)
                await stream.send(request)
            if received:
                answer, received = received, b""
            else:
                try:
                    answer = await (_receive_exactly(stream, handshake, first=first) if exact else stream.receive())
                except EndOfStream:
                    answer = b""
                first = False
                if traced:
                    trip.trace("<", answer)
            try:
                handshake.receive_data(answer)
            finally:
                for step in handshake.passed:
                    trip.enter(leg, step)
            if by_gssapi and isinstance(handshake, socks5.ClientHandshake) and handshake.token is not None:
                trip.enter(leg, handshake.state)
                stream = await by_gssapi.go_on(handshake, stream)
    except (ProtocolError, BrokenResourceError) as error:
        raise broken(trip, leg, handshake, error) from None
    if secured and leg.hop.tls and _may_resume(trip):
        context_of(leg.hop.tls).keep_session(leg.hop.identity, secured.session)
    return stream


async def start_tls(trip: Trip, leg: Leg, tls: Tls, stream: ByteStream, header: bytes = b"") -> TlsStream:
    """Speak TLS with the hop of a leg from now on, behind a `header` in the clear.

    Raises:
        DialError: the connection broke, or the hop has the wrong certificate.
    """
    trip.enter(leg, Step.TLS)
    context = context_of(tls)
    session = context.take_session(leg.hop.identity) if _may_resume(trip) else None
    secured = TlsStream(stream, context, tls.name or leg.hop.address.host, tls.pins, session=session)
    try:
        if header:
            await stream.send(header)
        await secured.handshake()
    except TlsError as error:
        raise trip.error(HopTlsError, f"{error}{_seen_through(leg)}", error.cause) from None
    except BrokenResourceError:
        raise trip.error(HopTlsError, f"the connection was reset{_seen_through(leg)}", Cause.RESET) from None
    finally:
        if trip.on_tls and secured.is_open:
            trip.on_tls(leg, secured)
    return secured


def _may_resume(trip: Trip) -> bool:
    """Whether TLS sessions may be resumed. By them, a hop could tell that two connections come from one place."""
    isolates = any(
        hop.isolate is not Isolate.OFF or isinstance(hop.credentials, IsolationLogin) for hop in trip.route.hops
    )
    return not (trip.route.chain.seal or isolates)


def _seen_through(leg: Leg) -> str:
    return f" (as seen through {leg.previous.name})" if leg.previous else ""


async def _receive_exactly(stream: ByteStream, handshake: ClientHandshake, *, first: bool) -> bytes:
    """Receive at most the bytes that the handshake misses, unless the peer's first message is not SOCKS."""
    wanted = handshake.missing
    answer = await stream.receive(wanted)
    if first and len(answer) == wanted and answer[0] != handshake.opening:
        with suppress(EndOfStream, BrokenResourceError):
            answer += await stream.receive()  # the error shows the beginning of it
    return answer


def broken(trip: Trip, leg: Leg, handshake: ClientHandshake, error: ProtocolError | BrokenResourceError) -> DialError:
    """Return the error for a handshake that has failed, or whose connection broke."""
    trip.enter(leg, handshake.step)
    if isinstance(error, LoginRefused):
        return trip.error(HopAuthenticationError, str(error), error.cause)
    problem, cause = "the connection was reset", Cause.RESET
    if isinstance(error, ProtocolError | CapsuleError | TlsError):
        problem, cause = str(error), error.cause
    return trip.error(HopProtocolError, f"{problem}{_seen_through(leg)}", cause)


def refusal(trip: Trip, leg: Leg, reply: Reply) -> HopRefused:
    """Return the error for a hop that did not grant what its leg asks for."""
    target, said = leg.target, reply.described
    if leg.next is None:
        asked = leg.command.name if leg.command is Command.UDP_ASSOCIATE else target
        problem = f"it refused {asked}: {said}"
    else:
        problem = f"it could not reach {leg.next.name} at {target}, it says: {said}"
    cause = Cause.REFUSED if _is_clients(trip, leg) else Cause.NEXT_NOT_REACHED
    return trip.refused(problem, cause, reply.code)


def unsupported(trip: Trip, leg: Leg, problem: str) -> UnsupportedAddress:
    """Return the error for a hop that cannot be asked for the target of its leg."""
    cause = Cause.UNSUPPORTED_ADDRESS if _is_clients(trip, leg) else Cause.NEXT_UNSUPPORTED
    return trip.error(UnsupportedAddress, problem, cause)


def unasked(trip: Trip, data: bytes) -> HopProtocolError:
    """Return the error for a hop that sent bytes behind its reply, where the protocol has none."""
    return trip.error(HopProtocolError, f"{len(data)} bytes came behind its reply, unasked", Cause.UNSOLICITED)


def _is_clients(trip: Trip, leg: Leg) -> bool:
    """Whether the target of a leg is what the client asked for."""
    return leg.next is None and trip.is_for_client


def _local_address(stream: ByteStream) -> Address:
    name = stream.extra(SocketAttribute.local_address, UNSPECIFIED)
    return address_of(name) if isinstance(name, tuple) else UNSPECIFIED
