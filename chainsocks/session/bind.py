"""BIND as a session sees it: a client that waits for its peer, and may leave or speak meanwhile."""

from __future__ import annotations

import trio
from anyio import BrokenResourceError, EndOfStream, aclose_forcefully
from anyio.abc import ByteStream

from chainsocks.chain.bind import BindWalk
from chainsocks.chain.network import CancelScope
from chainsocks.chain.walk import Upstream
from chainsocks.errors import DialError, RequestRefused
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.handshake import ServerHandshake
from chainsocks.protocol.messages import ReplyCode, Version

__all__ = ["EARLY", "await_peer", "check_bound"]

EARLY = 64 * 1024
"""Bytes that a client may say to a peer that is not there yet; the rest waits in its socket."""


def check_bound(version: Version, bound: Address) -> None:
    """See that a client can be told where its port is.

    Raises:
        RequestRefused: SOCKS4 has room for an IPv4 address only, and zeros would send the peer to us.
    """
    if version is Version.SOCKS4 and bound.type is not AddressType.IPV4:
        raise RequestRefused(f"SOCKS4 cannot tell a client of {bound}", ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED)


async def await_peer(
    walk: BindWalk, scope: CancelScope, client: ByteStream, handshake: ServerHandshake
) -> Upstream | None:
    """Wait for the peer inside `scope`, and listen to the client meanwhile; None when the client leaves.

    What the client says becomes `handshake.trailing_data`. A client that finishes its side has left: it has nobody yet
    to finish it to.

    *Closing*: the upstream is the caller's, and nothing else is open behind this.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    upstream: Upstream | None = None
    failure: DialError | None = None
    left = False

    async def listen_to_client() -> None:
        nonlocal left
        try:
            while len(handshake.trailing_data) < EARLY:
                handshake.receive_data(await client.receive())
        except (BrokenResourceError, EndOfStream):
            left = True
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen_to_client)
            try:
                upstream = await walk.accept(scope)
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
