"""Isolation: derive logins that make tor use separate circuits.

tor puts streams with different SOCKS5 logins on different circuits (IsolateSOCKSAuth, which is its default).

1. The login is a keyed digest of what the hop isolates by. It shows which streams belong together, and not to which
   user or client. It never begins with "<torS0X>", which tor reserves.
2. Each hop gets logins of its own, so that two hops cannot match their sessions.
3. The same key gives the same logins in all workers of a server.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field, replace

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate
from chainsocks.config.hops import Hop
from chainsocks.protocol.address import Address, canonical
from chainsocks.protocol.messages import IsolationLogin
from chainsocks.routing.rules import Caller

__all__ = ["Circumstances", "isolated", "isolated_chain"]


@dataclass(frozen=True, slots=True, repr=False)
class Circumstances:
    """The properties of a session by which hops may isolate."""

    key: bytes
    """A secret of this server or process."""
    caller: Caller = field(default_factory=Caller)
    destination: Address | None = None
    """None for datagrams, which have many destinations: they are isolated by session. The port does not count."""
    session: bytes = field(default_factory=lambda: os.urandom(16))
    """Unique for each session."""


def isolated(hop: Hop, circumstances: Circumstances) -> Hop:
    """Return `hop` with the login that it gets in these circumstances; unchanged if it does not isolate."""
    if hop.isolate is Isolate.OFF:
        return hop
    message = b"\0".join((hop.isolate.encode(), str(hop.address).encode(), _apart(hop.isolate, circumstances)))
    digest = hmac.digest(circumstances.key, message, "sha256").hex().encode()
    return replace(hop, isolate=Isolate.OFF, credentials=IsolationLogin(digest[:32], digest[32:]))


def isolated_chain(chain: Chain, circumstances: Circumstances) -> Chain:
    """Return `chain` with the logins that its hops get in these circumstances."""
    return chain.with_each(lambda hop: isolated(hop, circumstances))


def _apart(isolate: Isolate, circumstances: Circumstances) -> bytes:
    """Return bytes that are equal for streams that may share a circuit. Unknown users and clients share one."""
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
