"""Open a UDP association at every hop of a chain, each through the hops before it (RFC 1928 section 6 and 7).

::

    us ─────────────────────────────> paris    UDP ASSOCIATE, one TCP connection
    us ──────> paris ───────────────> osaka    UDP ASSOCIATE, another one
    us ──────> paris ──────> osaka ─> lima     UDP ASSOCIATE, and so on

1. It fails closed: without an association at each hop there is none.
2. The limits are those of a dial: one for each step, and one for all of it together.
3. A relay is known by its IP address, or replies could not be told from a stranger's.
4. On any failure all connections are closed before the error leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address

import anyio
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.legs import Leg
from chainsocks.chain.network import CancelScope
from chainsocks.chain.walk import OPEN, Walk
from chainsocks.config.hops import Hop
from chainsocks.errors import Cause, HopProtocolError
from chainsocks.protocol.address import Address, AddressType, address_of, canonical
from chainsocks.protocol.messages import Command

__all__ = ["Association", "AssociationWalk"]


@dataclass(frozen=True, slots=True)
class Association:
    """Associations at all hops of a chain, which live as long as `streams` do. Whoever asked for it closes those."""

    streams: Mapping[str, ByteStream]
    """By the names of the hops, with their places: ``osaka (2 of 3)``."""
    relays: tuple[Address, ...]
    """Where each hop takes datagrams, as IP addresses."""
    hops: tuple[Hop, ...]


class AssociationWalk(Walk):
    """The walks to all hops, one after the other, under one limit for the whole chain."""

    async def associate(self, scope: CancelScope) -> Association:
        """Walk to every hop, inside `scope`; when that cuts it short, raise `timeout` behind it.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        self._scope = scope
        streams: dict[str, ByteStream] = {}
        relays: list[Address] = []
        async with AsyncExitStack() as opened:  # closes them all, also when the first closing is where a limit strikes
            for stop in range(1, len(self._route.hops) + 1):
                plan = self._plan(self._destination, Command.UDP_ASSOCIATE, stop)
                stream, reply, trailing_data = await self._follow(plan)
                opened.push_async_callback(anyio.aclose_forcefully, stream)
                streams[str(self._place.who)] = stream
                if trailing_data:
                    problem = f"{len(trailing_data)} bytes came behind its reply, unasked"
                    raise self._error(HopProtocolError, problem, Cause.UNSOLICITED)
                relays.append(self._relay_of(plan[-1], stream, reply.bound))
            opened.pop_all()
        self._at(None, OPEN)
        return Association(streams, tuple(relays), self._route.hops)

    def _relay_of(self, leg: Leg, stream: ByteStream, bound: Address) -> Address:
        """Return where the hop takes datagrams; where its BND.ADDR is all zero, that is the hop's own address."""
        host = bound.host
        if bound.type is not AddressType.DOMAINNAME and ip_address(host).is_unspecified:
            host = _peer_of(stream, leg.hop.address.host) if leg.previous is None else leg.hop.address.host
        relay = canonical(Address(host, bound.port))
        if relay.type is AddressType.DOMAINNAME:
            problem = f"its relay is at {relay}: a name, by which no reply can be told"
            raise self._error(HopProtocolError, problem, Cause.UNUSABLE)
        if not relay.port:
            raise self._error(HopProtocolError, "its relay has no port", Cause.UNUSABLE)
        return relay


def _peer_of(stream: ByteStream, otherwise: str) -> str:
    """Return the IP address that a stream is connected to."""
    name = stream.extra(SocketAttribute.remote_address, None)
    return address_of(name).host if isinstance(name, tuple) else otherwise
