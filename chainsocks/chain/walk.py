"""Walk a route: connect to the first hop, then ask each hop for the next, and the last for the destination.

1. Every step is bounded by a total, and the whole chain by another; whichever ends first is the limit in the error.
2. It fails closed: no hop is ever left out, and a chain never becomes direct.
3. Every failure names the hop, its address, the step, the seconds spent and the limit.
4. What trails the last hop's reply is handed on. A middle hop has no business saying anything behind its reply, unless
   the next hop was asked along with it: then that is the next one's answer.
5. On any failure the stream is closed before the error leaves.

What it needs of the network, and of the clock, is a `Network` given by the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.causes import errno_of, explain_connect_error
from chainsocks.chain.eyeballs import connect_first, interleave
from chainsocks.chain.gssapi import HopLogin
from chainsocks.chain.legs import Leg, legs, open_handshake
from chainsocks.chain.network import CancelScope, Network
from chainsocks.chain.pipeline import flights
from chainsocks.config.chains import Route
from chainsocks.config.hops import Resolve
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    Cause,
    ConnectError,
    DialError,
    DialTimeout,
    End,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Place,
    Step,
    UnsupportedAddress,
)
from chainsocks.gss.stream import CapsuleError
from chainsocks.protocol import socks5
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType, address_of, printable
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import ClientHandshake, State
from chainsocks.protocol.messages import Command, Reply, ReplyCode, describe_reply

__all__ = ["CONNECT", "OPEN", "RESOLVE", "OnStep", "Upstream", "Walk"]


OnStep = Callable[[Place], None]
"""Is told of each step as it begins."""

LOCAL, DOMAINNAME, DEBUG = Resolve.LOCAL, AddressType.DOMAINNAME, logging.DEBUG  # which every step looks at

RESOLVE, CONNECT, OPEN = Step.RESOLVE, Step.CONNECT, Step.OPEN

DialErrorT = TypeVar("DialErrorT", bound=DialError)

log = logging.getLogger("chainsocks.dial")


@dataclass(frozen=True, slots=True)
class Upstream:
    """An open way to the destination. Whoever dialled closes `stream`."""

    stream: ByteStream
    bound: Address
    """BND.ADDR: the last hop's, or our own address when direct."""
    trailing_data: bytes
    """What the destination has said already; it comes before anything read from `stream`."""


class Walk:
    """One walk: where it is, and since when, is what its limits and errors are made of.

    The whole of it is bounded from `began`, which is now unless other walks for the same request went before.

    There is one cancel scope for all of it, armed anew for each step: opening one costs as much as the step itself.
    """

    command = Command.CONNECT
    """What the last hop is asked for."""

    __slots__ = (
        "_began",
        "_came_through",
        "_destination",
        "_end",
        "_handshake",
        "_leg",
        "_limit",
        "_network",
        "_on_step",
        "_route",
        "_scope",
        "_started",
        "_step",
        "_target",
        "_timeouts",
        "_total",
        "_traced",
    )

    def __init__(
        self,
        route: Route,
        destination: Address,
        timeouts: Timeouts,
        network: Network,
        on_step: OnStep | None = None,
        began: float | None = None,
    ) -> None:
        self._route = route
        self._destination = destination
        self._end = End.DESTINATION
        self._timeouts = timeouts
        self._network = network
        self._started = network.now()
        self._began = self._started if began is None else began
        dial = route.chain.dial
        self._total = self._limit = timeouts.dial if dial is None else dial
        self._on_step = on_step
        self._traced = log.isEnabledFor(DEBUG)
        self._came_through = False
        self._leg: Leg | None = None
        self._step: State | Step = CONNECT
        self._target = destination

    async def go(self, scope: CancelScope) -> Upstream:
        """Walk all the way, inside `scope`; when that cuts the walk short, raise `timeout` behind it.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        self._scope = scope
        plan = self._plan(self._destination, self.command)
        stream, reply, trailing_data = await self._follow(plan)
        self._at(None, OPEN)
        return Upstream(stream, reply.bound, trailing_data)

    def _plan(self, target: Address, command: Command, stop: int | None = None) -> tuple[Leg, ...]:
        """Plan the way to `target`, or as far as the hop at position `stop`."""
        route = self._route
        return legs(route.hops, target, command, stop, route.chain.pipeline)

    async def _follow(self, plan: Sequence[Leg]) -> tuple[ByteStream, Reply, bytes]:
        """Connect, and have each hop do what its leg says; return the last one's reply, and what came behind it."""
        for leg in plan:
            if problem := leg.hop.cannot_carry(leg.target):
                self._at(leg, State.REQUEST)
                raise self._unsupported(leg, problem)
        stream = await self._connect(plan[0] if plan else None)
        try:
            reply, trailing_data = Reply(ReplyCode.SUCCEEDED, UNSPECIFIED if plan else _local_address(stream)), b""
            for flight in flights(plan):
                if trailing_data:
                    problem = f"{len(trailing_data)} bytes came behind its reply, unasked"
                    raise self._error(HopProtocolError, problem, Cause.UNSOLICITED)
                stream, reply, trailing_data = await self._ask(flight, stream)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        self._came_through = True
        return stream, reply, trailing_data

    async def _connect(self, first: Leg | None) -> ByteStream:
        """Connect to the first hop, or to the destination when there is none."""
        address = first.hop.address if first else self._destination
        addresses = [address]
        if address.type is DOMAINNAME:
            addresses = await self._look_up(first, address)
        self._at(first, CONNECT)
        self._allow(self._timeouts.connect, address)
        try:
            return await connect_first(addresses, self._network.open_tcp)
        except OSError as error:
            problem, cause = explain_connect_error(error)
            own = first is None and self._end is End.DESTINATION
            raise self._error(ConnectError, problem, cause, at_destination=own, errno=errno_of(error)) from error

    async def _look_up(self, leg: Leg | None, name: Address) -> list[Address]:
        """Resolve a name on this machine, in the order to try its addresses."""
        self._at(leg, RESOLVE)
        self._allow(self._timeouts.resolve, name)
        try:
            return interleave(await self._network.resolve(name))
        except OSError as error:
            problem = f"no address for {printable(name.host)}: {error.strerror or error}"
            own = name is self._destination and self._end is End.DESTINATION
            raise self._error(ConnectError, problem, Cause.NAME_NOT_FOUND, at_destination=own) from error

    async def _ask(self, flight: Sequence[Leg], stream: ByteStream) -> tuple[ByteStream, Reply, bytes]:
        """Have hops do what their legs say, asked at once.

        Return the stream to go on with, the last one's reply, and what came behind it.
        """
        asked: list[tuple[Leg, ClientHandshake]] = []
        ahead = said = b""
        for leg in flight:
            if leg.hop.resolve is LOCAL and leg.target.type is DOMAINNAME:
                leg = await self._resolved(leg)
            handshake = open_handshake(leg.hop, leg.target, leg.command, leg.pipeline)
            if asked:
                ahead += handshake.data_to_send()
            asked.append((leg, handshake))
        for leg, handshake in asked:
            hop, self._handshake = leg.hop, handshake
            self._allow(self._timeouts.hop if hop.timeout is None else hop.timeout, leg.target)
            stream = await self._negotiate(leg, handshake, stream, ahead, said)
            reply = handshake.reply
            if not reply.succeeded:
                raise self._refusal(leg, reply)
            ahead, said = b"", handshake.trailing_data
        return stream, reply, said

    async def _resolved(self, leg: Leg) -> Leg:
        """Return a leg with the address of its target in place of the name."""
        hop, target = leg.hop, leg.target
        usable = [found for found in await self._look_up(leg, target) if not hop.cannot_carry(found)]
        if not usable:
            raise self._unsupported(leg, f"{target} has no address that {hop.protocol} can carry")
        return replace(leg, target=usable[0])

    def _refusal(self, leg: Leg, reply: Reply) -> HopRefused:
        """Say what a hop did not grant."""
        target, said = leg.target, describe_reply(reply.code)
        if leg.next is None:
            asked = leg.command.name if leg.command is Command.UDP_ASSOCIATE else target
            problem = f"it refused {asked}: {said}"
        else:
            problem = f"it could not reach {leg.next.name} at {target}, it says: {said}"
        cause = Cause.REFUSED if self._is_clients(leg) else Cause.NEXT_NOT_REACHED
        return self._refused(problem, cause, reply.code)

    def _unsupported(self, leg: Leg, problem: str) -> UnsupportedAddress:
        """Say what a hop cannot be asked for."""
        cause = Cause.UNSUPPORTED_ADDRESS if self._is_clients(leg) else Cause.NEXT_UNSUPPORTED
        return self._error(UnsupportedAddress, problem, cause)

    def _is_clients(self, leg: Leg) -> bool:
        """Whether the target of a leg is what the client asked for."""
        return leg.next is None and self._end is End.DESTINATION

    async def _negotiate(
        self, leg: Leg, handshake: ClientHandshake, stream: ByteStream, ahead: bytes = b"", said: bytes = b""
    ) -> ByteStream:
        """Drive a handshake to its end: one send and one receive for each message, as the kernel allows.

        `ahead` goes behind the first message; `said` is what of the hop's answers has been received already.
        Return the stream, or what stands for it from here on.
        """
        login = leg.hop.credentials
        by_gssapi = HopLogin(login, leg.hop.address.host, leg.command) if isinstance(login, Gssapi) else None
        traced = self._traced
        try:
            while not handshake.done:
                self._at(leg, handshake.state)
                if request := handshake.data_to_send() + ahead:
                    ahead = b""
                    if traced:
                        self._trace(">", request)
                    await stream.send(request)
                if said:
                    answer, said = said, b""
                else:
                    try:
                        answer = await stream.receive()
                    except EndOfStream:
                        answer = b""
                    if traced:
                        self._trace("<", answer)
                try:
                    handshake.receive_data(answer)
                finally:
                    for step in handshake.passed:
                        self._at(leg, step)
                if by_gssapi and isinstance(handshake, socks5.ClientHandshake) and handshake.token is not None:
                    self._at(leg, handshake.state)
                    stream = await by_gssapi.go_on(handshake, stream)
        except (ProtocolError, BrokenResourceError) as error:
            raise self._broken(leg, handshake, error) from None
        return stream

    def _broken(self, leg: Leg, handshake: ClientHandshake, error: ProtocolError | BrokenResourceError) -> DialError:
        """Blame a hop for the end that its handshake came to."""
        self._at(leg, handshake.step)
        if isinstance(error, LoginRefused):
            return self._error(HopAuthenticationError, str(error), error.cause)
        problem, cause = "the connection was reset", Cause.RESET
        if isinstance(error, ProtocolError | CapsuleError):
            problem, cause = str(error), error.cause
        if leg.previous:
            problem += f" (as seen through {leg.previous.name})"
        return self._error(HopProtocolError, problem, cause)

    @property
    def route(self) -> Route:
        """What is walked."""
        return self._route

    @property
    def leg(self) -> Leg | None:
        """Where the walk is, or has ended; None at the destination."""
        return self._leg

    @property
    def came_through(self) -> bool:
        """Whether the hops have been gone through. What needed none of them to be done says nothing of them."""
        return self._came_through

    @property
    def is_over_time(self) -> bool:
        """Whether the time for the whole chain is over."""
        return self._network.now() >= self._began + self._total

    @property
    def _place(self) -> Place:
        """The hop and the step that we are at."""
        if self._leg is None:
            return Place(None, self._destination, self._step, end=self._end)
        hop = self._leg.hop
        return Place(hop.name, hop.address, self._step, self._leg.position, len(self._route.hops), end=self._end)

    def _at(self, leg: Leg | None, step: State | Step) -> None:
        """Note that a step begins, at a hop or (None) at the destination."""
        self._leg = leg
        self._step = step
        if self._on_step:
            self._on_step(self._place)
        if self._traced:
            log.debug("= %s", self._place)

    def _trace(self, direction: str, data: bytes) -> None:
        """Log how much went over the wire; never what, since it holds passwords."""
        log.debug("%s %s %d bytes", direction, self._leg.hop.name if self._leg else self._destination, len(data))

    def _allow(self, limit: float, target: Address) -> None:
        """Give what begins now, on the way to `target`, so many seconds, or what is left for the whole chain."""
        self._started, self._limit, self._target = self._network.now(), limit, target
        self._scope.deadline = min(self._started + limit, self._began + self._total)

    def timeout(self) -> DialTimeout:
        """Say which limit was not kept, once the scope has cut the walk short."""
        complaints = {
            RESOLVE: f"the look-up of {printable(self._target.host)} got no answer",
            CONNECT: "no answer",
            State.SECOND_REPLY: "nobody connected",
        }
        complaint = complaints.get(self._step, f"no complete answer{self._purpose}")
        if self._began + self._total < self._started + self._limit:
            self._started, self._limit = self._began, self._total
            complaint += ", and the time for the whole chain is over"
        own = self._leg is None and self._end is End.DESTINATION
        return self._error(DialTimeout, complaint, Cause.TIMED_OUT, at_destination=own)

    @property
    def _purpose(self) -> str:
        """What the hop that we are at was to do for us."""
        ends_here = self._leg is not None and self._leg.command is Command.UDP_ASSOCIATE
        return f" to {Command.UDP_ASSOCIATE.name}" if ends_here else f" on the way to {self._target}"

    def _error(
        self,
        kind: type[DialErrorT],
        problem: str,
        cause: Cause,
        *,
        at_destination: bool = False,
        errno: int | None = None,
    ) -> DialErrorT:
        """Make an error of this place and time."""
        elapsed, limit = self._network.now() - self._started, self._limit
        return kind(
            self._place, problem, cause, elapsed=elapsed, limit=limit, at_destination=at_destination, errno=errno
        )

    def _refused(self, problem: str, cause: Cause, code: int) -> HopRefused:
        """Make the error of a hop's refusal, of this place and time."""
        elapsed = self._network.now() - self._started
        return HopRefused(self._place, problem, cause, code=code, elapsed=elapsed, limit=self._limit)


def _local_address(stream: ByteStream) -> Address:
    name = stream.extra(SocketAttribute.local_address, UNSPECIFIED)
    return address_of(name) if isinstance(name, tuple) else UNSPECIFIED
