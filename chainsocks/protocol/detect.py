"""Choose the protocol by a client's first bytes, so that one port serves SOCKS4, SOCKS5 and HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.errors import unexpected_opening
from chainsocks.protocol.handshake import ServerHandshake
from chainsocks.protocol.http_proxy import HttpServerHandshake, may_be_http
from chainsocks.protocol.messages import Method, Version

__all__ = ["server_handshake"]


def server_handshake(data: bytes, methods: Sequence[Method]) -> ServerHandshake:
    """Return the server's handshake for a client whose first bytes are `data`; pass them to `receive_data` next.

    `data` has at least one byte. `methods` are the SOCKS5 methods to accept, most preferred first.

    Raises:
        ProtocolError: this is none of them; the cause is the protocol that it looks like.
    """
    match data[0]:
        case Version.SOCKS5:
            return socks5.ServerHandshake(methods)
        case Version.SOCKS4:
            return socks4.ServerHandshake()
        case _ if may_be_http(data):
            return HttpServerHandshake(methods)
        case _:
            raise unexpected_opening("this is neither SOCKS nor HTTP", data)
