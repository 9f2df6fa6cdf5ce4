"""Choose the protocol by a client's first bytes, so that one port serves SOCKS4, SOCKS5 and HTTP, or HTTP only."""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.errors import unexpected_opening
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.http_proxy import HttpServerHandshake, may_be_http
from chainsocks.protocol.messages import Method, Version

__all__ = ["server_handshake"]

_SOCKS4, _SOCKS5 = Version.SOCKS4.value, Version.SOCKS5.value

_REFUSALS = {Version.SOCKS5: b"\x05\xff", Version.SOCKS4: b"\0\x5b" + bytes(6)}
"""For clients of SOCKS where it is not spoken: no method is acceptable (RFC 1928 section 3), and request rejected."""


class _NoSocks(ServerHandshake):
    """Refuses a client of SOCKS, in its own version."""

    __slots__ = ()

    def _advance(self) -> bool:
        self._outgoing += _REFUSALS[Version(self._incoming[0])]
        raise unexpected_opening('this listener takes HTTP only (kind = "http")', self._incoming)


def server_handshake(data: bytes, methods: Sequence[Method], *, http_only: bool = False) -> ServerHandshake:
    """Return the server's handshake for a client whose first bytes are `data`; pass them to `receive_data` next.

    `data` has at least one byte. `methods` are the SOCKS5 methods to accept, most preferred first. With `http_only`, a
    client of SOCKS is refused.

    Raises:
        ProtocolError: this is none of them; the cause is the protocol that it looks like.
    """
    first = data[0]
    if http_only and first in _REFUSALS:
        return _NoSocks(State.METHOD_NEGOTIATION if first == _SOCKS5 else State.REQUEST)
    if first == _SOCKS5:
        return socks5.ServerHandshake(methods)
    if first == _SOCKS4:
        return socks4.ServerHandshake()
    if may_be_http(data):
        return HttpServerHandshake(methods)
    raise unexpected_opening("this is neither SOCKS nor HTTP", data)
