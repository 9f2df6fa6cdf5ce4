"""Choose the version of SOCKS by a client's first byte, so that one port serves all of them."""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.errors import not_socks
from chainsocks.protocol.handshake import ServerHandshake
from chainsocks.protocol.messages import Method, Version

__all__ = ["server_handshake"]


def server_handshake(data: bytes, methods: Sequence[Method]) -> ServerHandshake:
    """Return the server's handshake for a client whose first bytes are `data`; pass them to `receive_data` next.

    `data` has at least one byte. `methods` are the SOCKS5 methods to accept, most preferred first.

    Raises:
        ProtocolError: this is not SOCKS; the cause is the protocol that it looks like.
    """
    match data[0]:
        case Version.SOCKS5:
            return socks5.ServerHandshake(methods)
        case Version.SOCKS4:
            return socks4.ServerHandshake()
        case _:
            raise not_socks("this is not SOCKS", data)
