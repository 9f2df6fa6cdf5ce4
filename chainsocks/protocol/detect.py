"""Pick the version of a conversation by its first byte, so that one port serves them all."""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.errors import not_socks
from chainsocks.protocol.handshake import ServerHandshake
from chainsocks.protocol.messages import Method, Version

__all__ = ["server_handshake"]


def server_handshake(data: bytes, methods: Sequence[Method]) -> ServerHandshake:
    """Return the server's side for a conversation that opens with `data`; give it that data next.

    `data` needs one byte at least. `methods` are the SOCKS5 methods to accept, best first.

    Raises:
        ProtocolError: with a guess at what this is instead of SOCKS.
    """
    match data[0]:
        case Version.SOCKS5:
            return socks5.ServerHandshake(methods)
        case Version.SOCKS4:
            return socks4.ServerHandshake()
        case _:
            raise not_socks("this is not SOCKS", data)
