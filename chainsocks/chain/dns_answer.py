"""Answer one question of DNS the way that a chain's connections go, for a listener with ``kind = "dns"``.

1. The chain's `resolver` is asked, in DNS over TCP through all hops, and its answer is passed on as it is: records of
   all types, their TTLs, and what DNSSEC needs. The resolver sees a question without the client's id and options.
2. Without a `resolver`, A, AAAA and PTR are answered by what answers RESOLVE (`chainsocks.chain.resolve.resolver_of`):
   a last hop with ``tor = true``, or this machine. A hop tells one address of a name, and not why it has none. Other
   types are NOTIMP, as at tor's DNSPort.
3. A chain that has none of these refuses. No question ever goes around a hop.
4. Names below ``onion`` are never asked of a `resolver` (RFC 7686).
"""

from __future__ import annotations

import secrets
import socket

import anyio

from chainsocks.chain.dns_stream import exchange
from chainsocks.chain.operations import open_connection
from chainsocks.chain.resolve import Resolver, resolve, resolver_of
from chainsocks.chain.steps import resolve as resolve_locally
from chainsocks.chain.trip import OPEN, RESOLVE, Trip
from chainsocks.errors import Cause, DialError, End, ProtocolError, ResolverError
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.dns import Kind, Query, Rcode, encode_name
from chainsocks.protocol.messages import Command

__all__ = ["TTL", "answer_question"]

TTL = 60
"""Seconds for which a client may remember an answer that came without a TTL."""

_TRANSFERS = 251, 252  # IXFR, AXFR: many messages, for servers of a zone
_FAMILIES = {Kind.A: AddressType.IPV4, Kind.AAAA: AddressType.IPV6}
_NO_DATA = {getattr(socket, "EAI_NODATA", None), getattr(socket, "EAI_ADDRFAMILY", None)}


async def answer_question(trip: Trip, query: Query) -> bytes:
    """Return the answer to `query`, whose subject is the trip's destination.

    Raises:
        DialError: one of its subclasses, by cause.
        RequestRefused: this chain has no resolver.
    """
    if query.kind in _TRANSFERS:
        return query.failure(Rcode.NOT_IMPLEMENTED)
    is_onion = query.name.rpartition(".")[2] == "onion"
    if trip.route.chain.resolver and not is_onion:
        return await _ask_behind_chain(trip, trip.route.chain.resolver, query)
    command = Command.RESOLVE_PTR if query.address else Command.RESOLVE
    resolver = resolver_of(trip.route, command, trip.destination)
    if is_onion and resolver is not Resolver.LAST_HOP:
        return query.failure(Rcode.NAME_ERROR)
    if not (query.address or query.kind in _FAMILIES):
        return query.failure(Rcode.NOT_IMPLEMENTED)
    try:
        if query.address:
            return query.answer([_pointer(trip, await resolve(trip, command))], TTL)
        if resolver is Resolver.THIS_MACHINE:
            found = await resolve_locally(trip, None, trip.destination)
        else:
            found = [await resolve(trip, command)]
    except DialError as error:
        if (code := _code_of(error)) is None:
            raise
        return query.failure(code)
    wanted = _FAMILIES[Kind(query.kind)]
    return query.answer([each.packed for each in found if each.type is wanted], TTL)


def _pointer(trip: Trip, name: Address) -> bytes:
    try:
        return encode_name(name.host)
    except ValueError:
        raise trip.error(ResolverError, "its answer is no name of DNS", Cause.MALFORMED) from None


def _code_of(error: DialError) -> Rcode | None:
    """Return what a final answer of this machine's resolver is in DNS; None for a failure."""
    number = error.__cause__.errno if isinstance(error.__cause__, socket.gaierror) else None
    if number == socket.EAI_NONAME:
        return Rcode.NAME_ERROR
    return Rcode.NO_ERROR if number is not None and number in _NO_DATA else None


async def _ask_behind_chain(trip: Trip, resolver: Address, query: Query) -> bytes:
    subject = trip.destination
    trip.head_for(resolver, End.RESOLVER)
    upstream = await open_connection(trip)
    try:
        trip.end_dial()
        trip.allow(trip.timeouts.resolve, subject)
        trip.enter(None, RESOLVE)
        id_ = secrets.randbits(16)
        try:
            message, _ = await exchange(upstream.stream, upstream.trailing_data, query.for_resolver(id_))
            answer = query.from_resolver(id_, message)
        except ProtocolError as error:
            seen = f" (as seen through {trip.route.hops[-1].name})" if trip.route.hops else ""
            raise trip.error(ResolverError, f"{error}{seen}", error.cause) from None
    finally:
        await anyio.aclose_forcefully(upstream.stream)
    trip.enter(None, OPEN)
    return answer
