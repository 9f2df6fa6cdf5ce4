"""`connect_socket`: a connection through a chain as a socket, for code that wants one."""

from __future__ import annotations

import socket

from anyio.abc import ByteStream

from chainsocks.chain.operations import close_upstream, open_connection
from chainsocks.client.arguments import checked_chain, checked_local_host
from chainsocks.client.call import Call
from chainsocks.client.raw import RawNetwork, RawStream
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.groups import hops_of
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.errors import RequestRefused
from chainsocks.protocol.address import HostLike, PortLike
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.messages import ReplyCode

__all__ = ["connect_socket", "dial_raw", "why_not_bare"]


def why_not_bare(chain: Chain) -> str | None:
    """Return why connections through `chain` may be more than their socket; None when they never are."""
    for hop in hops_of(checked_chain(chain).hops):
        if hop.tls:
            return f"hop {hop.name} is spoken to in TLS"
        if isinstance(hop.credentials, Gssapi) and hop.credentials.protection is not Protection.NONE:
            return f"hop {hop.name} protects what is sent by GSSAPI"
    return None


async def connect_socket(
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    local_host: HostLike | None = None,
    isolation: str | None = None,
) -> socket.socket:
    """Connect to `host` and `port` through `chain`, and return the bare socket, which is non-blocking.

    Nothing behind the last reply has been received from it. The arguments are those of `connect_tcp`.

    *Closing*: the socket is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        RequestRefused: the bytes of a hop in TLS, or with protection by GSSAPI, are not those of the socket.
        ValueError: as `connect_tcp`.
    """
    why = why_not_bare(chain)
    if why is None:
        stream = await dial_raw(host, port, chain, timeout, timeouts, local_host, isolation)
        if isinstance(stream, RawStream):
            return stream.detach()
        await stream.aclose()
        why = "a hop protects what is sent by GSSAPI"
    advice = "use connect_tcp, or chainsocks.sync.connect, which returns a socket for every chain"
    raise RequestRefused(f"the chain has no bare socket: {why}; {advice}", ReplyCode.COMMAND_NOT_SUPPORTED)


async def dial_raw(
    host: HostLike,
    port: PortLike,
    chain: Chain,
    timeout: float | None,
    timeouts: Timeouts | None,
    local_host: HostLike | None,
    isolation: str | None,
) -> ByteStream:
    """Connect as `connect_socket`, and return a `RawStream`, or a stream around one."""
    destination = destination_of(host, port)
    network = RawNetwork(checked_local_host(local_host))
    call = Call(chain, timeouts, timeout, destination, isolation=isolation, network=network)
    _, upstream = await call.dialer.run(
        call.chain, open_connection, destination, key=destination.packed, close=close_upstream
    )
    return upstream.stream
