"""Separate circuits: derive the logins by which tor tells apart the streams that shall not share a circuit.

tor puts streams with different SOCKS5 logins on different circuits (IsolateSOCKSAuth, which is its default).

1. The login is a keyed digest of what a hop separates by: it tells that two streams belong together, and not whose they
   are. It never begins with the "<torS0X>" that tor keeps for itself.
2. Each hop gets logins of its own, so that two of them cannot compare notes.
3. The same key gives the same logins, in all workers of a server.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field, replace

from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop, Isolate
from chainsocks.protocol.address import Address, canonical
from chainsocks.protocol.messages import IsolationLogin
from chainsocks.routing.rules import Caller

__all__ = ["Circumstances", "isolated", "isolated_chain"]


@dataclass(frozen=True, slots=True, repr=False)
class Circumstances:
    """Whatever a session can be told apart by."""

    key: bytes
    """What nobody else knows."""
    caller: Caller = field(default_factory=Caller)
    destination: Address | None = None
    """None for datagrams, which have many: they are told apart by session then. Its port does not count."""
    session: bytes = field(default_factory=lambda: os.urandom(16))
    """What no other session has."""


def isolated(hop: Hop, circumstances: Circumstances) -> Hop:
    """Return `hop` with the login that it gets in these circumstances; as it is, if it separates nothing."""
    if hop.isolate is Isolate.OFF:
        return hop
    message = b"\0".join((hop.isolate.encode(), str(hop.address).encode(), _apart(hop.isolate, circumstances)))
    digest = hmac.digest(circumstances.key, message, "sha256").hex().encode()
    return replace(hop, isolate=Isolate.OFF, credentials=IsolationLogin(digest[:32], digest[32:]))


def isolated_chain(chain: Chain, circumstances: Circumstances) -> Chain:
    """Return `chain` with the logins that its hops get in these circumstances."""
    return chain.with_each(lambda hop: isolated(hop, circumstances))


def _apart(isolate: Isolate, circumstances: Circumstances) -> bytes:
    """Return what is the same for streams that may share a circuit. Where nobody knows, that is all of them."""
    caller, destination = circumstances.caller, circumstances.destination
    match isolate:
        case Isolate.USER:
            return b"" if caller.user is None else b"user " + caller.user
        case Isolate.CLIENT:
            return canonical(Address(caller.host, 0)).packed if caller.host else b""
        case Isolate.DESTINATION if destination:
            return canonical(destination).packed.lower().rstrip(b".")
        case _:
            return b"session " + circumstances.session
