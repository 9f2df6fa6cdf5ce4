"""TLS in front of a server: connections are decrypted and passed on, as stunnel does it."""

from __future__ import annotations

import math
import socket
import ssl

import trio
from anyio import BrokenResourceError

from chainsocks.net.stream import SocketStream
from chainsocks.net.tls import TlsStream
from chainsocks.observe.record import Traffic
from chainsocks.protocol.address import Address
from chainsocks.relay.relay import PumpedRelay

__all__ = ["TlsFront"]


class TlsFront:
    """A handler of connections, which passes them on to `target`."""

    def __init__(self, context: ssl.SSLContext, target: Address) -> None:
        self._context = context
        self._target = target
        self.opened: list[SocketStream] = []
        """The connections of clients."""

    async def __call__(self, stream: trio.SocketStream) -> None:
        client = taken_over(stream)
        self.opened.append(client)
        secured = TlsStream(client, self._context, is_server=True)
        server = taken_over(await trio.open_tcp_stream(self._target.host, self._target.port))
        try:
            await secured.handshake()
            with trio.CancelScope() as scope:
                await PumpedRelay(secured, server, Traffic(), idle=math.inf, half_close=60).run(scope)
        except BrokenResourceError:
            pass  # a client without TLS
        finally:
            await secured.aclose()
            await server.aclose()


def taken_over(stream: trio.SocketStream) -> SocketStream:
    return SocketStream(socket.socket(fileno=stream.socket.detach()))
