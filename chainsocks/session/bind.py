"""BIND in a session: the client waits for its peer, and may leave or send data meanwhile."""

from __future__ import annotations

import trio
from anyio import BrokenResourceError, EndOfStream, aclose_forcefully
from anyio.abc import ByteStream

from chainsocks.chain.bind import Binding
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import Upstream
from chainsocks.errors import DialError, RequestRefused
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.handshake import ServerHandshake
from chainsocks.protocol.messages import ReplyCode, Version

__all__ = ["EARLY", "await_peer", "check_bound"]

EARLY = 64 * 1024
"""Bytes that a client may send before its peer has connected; more waits in its socket."""


def check_bound(version: Version, bound: Address) -> None:
    """Check that a reply can carry the address of a client's port.

    Raises:
        RequestRefused: SOCKS4 has room for an IPv4 address only, and zeros would mean our own address.
    """
    if version is Version.SOCKS4 and bound.type is not AddressType.IPV4:
        raise RequestRefused(f"a SOCKS4 reply cannot carry {bound}", ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED)


async def await_peer(binding: Binding, limit: Limit, client: ByteStream, handshake: ServerHandshake) -> Upstream | None:
    """Wait for the peer inside `limit`, and read from the client meanwhile; None when the client leaves.

    What the client sends becomes `handshake.trailing_data`. A client that finishes its side has left: there is no peer
    yet that this could be passed on to.

    *Closing*: the upstream is the caller's, and nothing else is left open.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    upstream: Upstream | None = None
    failure: DialError | None = None
    left = False

    async def read_from_client() -> None:
        nonlocal left
        try:
            while len(handshake.trailing_data) < EARLY:
                handshake.receive_data(await client.receive())
        except (BrokenResourceError, EndOfStream):
            left = True
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_from_client)
            try:
                upstream = await binding.accept(limit)
            except DialError as error:  # which a nursery would wrap into a group
                failure = error
            nursery.cancel_scope.cancel()
    except BaseException:
        if upstream:
            await aclose_forcefully(upstream.stream)
        raise
    if failure:
        raise failure
    if left and upstream:  # both at once
        await aclose_forcefully(upstream.stream)
        return None
    return upstream
