"""Dial: connect to the first hop, then ask each hop for the next, and the last for the destination.

1. Every step is bounded by a total, and the whole chain by another; whichever ends first is the limit in the error.
2. It fails closed: no hop is ever left out, and a chain never becomes direct.
3. Every failure names the hop, its address, the step, the seconds spent and the limit.
4. What trails the last hop's reply is handed on; a middle hop has no business saying anything behind its reply.
5. On any failure the stream is closed before the error leaves.

``open_tcp`` and ``resolve`` are given by the caller: the server's are trio's, the client library's anyio's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.causes import explain_connect_error
from chainsocks.chain.eyeballs import OpenTCP, connect_first, interleave
from chainsocks.chain.legs import Leg, legs, open_handshake
from chainsocks.config.hops import Chain, Resolve
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Place,
    UnsupportedAddress,
)
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType, printable
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.handshake import ClientHandshake, State
from chainsocks.protocol.messages import Reply, ReplyCode, describe_reply

__all__ = ["CONNECT", "OPEN", "RESOLVE", "OnStep", "ResolveName", "Upstream", "dial"]

ResolveName = Callable[[Address], Awaitable[list[Address]]]
"""Look a name up locally and return its addresses, best first, or raise `socket.gaierror`."""

OnStep = Callable[[Place], None]
"""Is told of each step as it begins."""

RESOLVE, CONNECT, OPEN = "name look-up", "TCP connect", "open"
"""The steps around a handshake's own (`chainsocks.protocol.handshake.State`); the last says that the way is open."""

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


async def dial(
    chain: Chain,
    destination: Address,
    timeouts: Timeouts,
    *,
    open_tcp: OpenTCP,
    resolve: ResolveName,
    on_step: OnStep | None = None,
) -> Upstream:
    """Open the way to `destination` through all hops of `chain`, or directly if it has none.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    walk = _Walk(chain, destination, timeouts, on_step)
    plan = legs(chain, destination)
    for leg in plan:
        if problem := leg.hop.cannot_carry(leg.target):
            walk.at(leg, State.REQUEST)
            raise walk.error(UnsupportedAddress, problem)
    stream = await _connect(walk, plan, open_tcp, resolve)
    try:
        reply, trailing_data = Reply(ReplyCode.SUCCEEDED, UNSPECIFIED if plan else _local_address(stream)), b""
        for leg in plan:
            if trailing_data:
                raise walk.error(HopProtocolError, f"{len(trailing_data)} bytes came behind its reply, unasked")
            reply, trailing_data = await _ask(walk, leg, stream, resolve)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    walk.at(None, OPEN)
    return Upstream(stream, reply.bound, trailing_data)


async def _connect(walk: _Walk, plan: tuple[Leg, ...], open_tcp: OpenTCP, resolve: ResolveName) -> ByteStream:
    """Connect to the first hop, or to the destination when there is none."""
    address = plan[0].hop.address if plan else walk.destination
    first = plan[0] if plan else None
    addresses = [address]
    if address.type is AddressType.DOMAINNAME:
        addresses = await _look_up(walk, first, address, resolve)
    walk.at(first, CONNECT)
    with walk.bounded(walk.timeouts.connect, "no answer"):
        try:
            return await connect_first(addresses, open_tcp)
        except OSError as error:
            problem, code = explain_connect_error(error)
            raise walk.error(ConnectError, problem, None if first else code) from error


async def _look_up(walk: _Walk, leg: Leg | None, name: Address, resolve: ResolveName) -> list[Address]:
    """Resolve a name on this machine, in the order to try its addresses."""
    walk.at(leg, RESOLVE)
    with walk.bounded(walk.timeouts.resolve, f"the look-up of {printable(name.host)} got no answer"):
        try:
            return interleave(await resolve(name))
        except OSError as error:
            problem = f"no address for {printable(name.host)}: {error.strerror or error}"
            code = ReplyCode.HOST_UNREACHABLE if name is walk.destination else None
            raise walk.error(ConnectError, problem, code) from error


async def _ask(walk: _Walk, leg: Leg, stream: ByteStream, resolve: ResolveName) -> tuple[Reply, bytes]:
    """Have one hop connect to its leg's target; return its reply and what came behind it."""
    hop, target = leg.hop, leg.target
    if hop.resolve is Resolve.LOCAL and target.type is AddressType.DOMAINNAME:
        found = await _look_up(walk, leg, target, resolve)
        usable = [address for address in found if not hop.cannot_carry(address)]
        if not usable:
            raise walk.error(UnsupportedAddress, f"{target} has no address that {hop.protocol} can carry")
        target = usable[0]
    handshake = open_handshake(hop, target)
    limit = walk.timeouts.hop if hop.timeout is None else hop.timeout
    with walk.bounded(limit, f"no complete answer on the way to {target}"):
        await _negotiate(walk, leg, handshake, stream)
    reply = handshake.reply
    if reply.succeeded:
        return reply, handshake.trailing_data
    said = describe_reply(reply.code)
    if leg.following is None:
        raise walk.error(HopRefused, f"it refused {target}: {said}", reply.code)
    raise walk.error(HopRefused, f"it could not reach {leg.following.name} at {target}, it says: {said}")


async def _negotiate(walk: _Walk, leg: Leg, handshake: ClientHandshake, stream: ByteStream) -> None:
    """Drive a handshake to its end: one send and one receive for each message, as the kernel allows."""
    try:
        while not handshake.done:
            walk.at(leg, handshake.state)
            if request := handshake.data_to_send():
                walk.trace(">", request)
                await stream.send(request)
            try:
                answer = await stream.receive()
            except EndOfStream:
                answer = b""
            walk.trace("<", answer)
            handshake.receive_data(answer)
    except LoginRefused as error:
        walk.at(leg, handshake.step)
        raise walk.error(HopAuthenticationError, str(error)) from None
    except (ProtocolError, BrokenResourceError) as error:
        walk.at(leg, handshake.step)
        problem = str(error) if isinstance(error, ProtocolError) else "the connection was reset"
        if leg.carrier:
            problem += f" (as seen through {leg.carrier.name})"
        raise walk.error(HopProtocolError, problem) from None


def _local_address(stream: ByteStream) -> Address:
    name = stream.extra(SocketAttribute.local_address, UNSPECIFIED)
    return Address(str(name[0]), int(name[1])) if isinstance(name, tuple) else UNSPECIFIED


class _Walk:
    """Where the dial is, and since when: what its limits and its errors are made of."""

    __slots__ = (
        "_began",
        "_hops",
        "_leg",
        "_limit",
        "_on_step",
        "_started",
        "_step",
        "_total",
        "destination",
        "timeouts",
    )

    def __init__(self, chain: Chain, destination: Address, timeouts: Timeouts, on_step: OnStep | None) -> None:
        self.destination = destination
        self.timeouts = timeouts
        self._hops = len(chain.hops)
        self._on_step = on_step
        self._total = timeouts.dial if chain.dial is None else chain.dial
        self._began = self._started = anyio.current_time()
        self._limit = self._total
        self._leg: Leg | None = None
        self._step = CONNECT

    @property
    def place(self) -> Place:
        """The hop and the step that we are at."""
        if self._leg is None:
            return Place(None, self.destination, self._step)
        hop = self._leg.hop
        return Place(f"{hop.name} ({self._leg.position} of {self._hops})", hop.address, self._step)

    def at(self, leg: Leg | None, step: str) -> None:
        """Note that a step begins, at a hop or (None) at the destination."""
        self._leg = leg
        self._step = step
        if self._on_step:
            self._on_step(self.place)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("= %s", self.place)

    def trace(self, direction: str, data: bytes) -> None:
        """Log how much went over the wire; never what, since it holds passwords."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s %d bytes", direction, self._leg.hop.name if self._leg else self.destination, len(data))

    @contextmanager
    def bounded(self, limit: float, complaint: str) -> Iterator[None]:
        """Bound the block by `limit` seconds, and by what is left for the whole chain.

        Raises:
            DialTimeout: saying `complaint`, when either ran out.
        """
        self._started, self._limit = anyio.current_time(), limit
        end_of_chain = self._began + self._total
        with anyio.CancelScope(deadline=min(self._started + limit, end_of_chain)) as scope:
            yield
        if scope.cancelled_caught:
            if end_of_chain < self._started + limit:
                self._started, self._limit = self._began, self._total
                complaint += ", and the time for the whole chain is over"
            raise self.error(DialTimeout, complaint)

    def error(self, kind: type[DialErrorT], problem: str, reply_code: int | None = None) -> DialErrorT:
        """Make an error of this place and time."""
        elapsed = anyio.current_time() - self._started
        return kind(self.place, problem, elapsed=elapsed, limit=self._limit, reply_code=reply_code)
