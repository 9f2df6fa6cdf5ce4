"""Hand a port of a program's network out: what connects outside is relayed to a server inside."""

from __future__ import annotations

import logging
import socket

import trio

from chainsocks.config.models import Timeouts
from chainsocks.net.stream import SocketStream
from chainsocks.network import reset_on_close
from chainsocks.observe.record import Traffic
from chainsocks.relay.polled_relay import relay_between
from chainsocks.server.accept import accept_connections
from chainsocks.server.namespace_agent import NamespaceAgent

__all__ = ["publish"]

log = logging.getLogger("chainsocks.exec")

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def publish(listening: socket.socket, port: int, agent: NamespaceAgent, timeouts: Timeouts) -> None:
    """Relay the connections of a listening socket to a port of loopback inside, until cancelled.

    *Closing*: the socket is closed then.
    """

    async def serve(connection: socket.socket) -> None:
        async with SocketStream(connection) as client:
            try:
                with trio.move_on_after(timeouts.connect) as connecting:
                    upstream = await _connect(port, agent)
            except OSError as error:
                reset_on_close(client)
                log.warning("port %d inside: %s", port, error.strerror or error)
                return
            if connecting.cancelled_caught:
                reset_on_close(client)
                return
            async with upstream:
                relay = relay_between(client, upstream, Traffic(), idle=timeouts.idle, half_close=timeouts.half_close)
                with trio.CancelScope() as scope:
                    await relay.run(scope)

    with listening:
        async with trio.open_nursery() as nursery:
            await accept_connections(
                listening, lambda: False, None, lambda connection, peer: nursery.start_soon(serve, connection)
            )


async def _connect(port: int, agent: NamespaceAgent) -> SocketStream:
    """Connect to a port of loopback inside.

    Raises:
        OSError: nothing listens there.
    """
    problem = OSError()
    for family, host in _LOOPBACK:
        stream = SocketStream(await agent.stream(family))
        try:
            await stream.connect((host, port))
        except BaseException as error:
            await stream.aclose()
            if not isinstance(error, OSError):
                raise
            problem = error
        else:
            return stream
    raise problem
