"""Isolation in the library: every call is a session of its own, without a user or a client address."""

from __future__ import annotations

import hmac
import os

from chainsocks.client.arguments import checked_chain
from chainsocks.config.chains import Chain
from chainsocks.config.options import as_text
from chainsocks.protocol.address import Address
from chainsocks.routing.isolation import Circumstances, isolated_chain

__all__ = ["own_circuit"]

_KEY = os.urandom(32)


def own_circuit(chain: Chain, destination: Address | None = None, isolation: str | None = None) -> Chain:
    """Return `chain` with the logins that its hops get for one call; without a destination for datagrams.

    Calls with different texts in `isolation` share no circuit of a hop with `isolate`. Calls with the same text are one
    session, and share a circuit unless the hop isolates by destination.

    Raises:
        ValueError: it is no `Chain`, or `isolation` is given and no hop isolates.
    """
    chain = checked_chain(chain)
    if isolation is None:
        return isolated_chain(chain, Circumstances(_KEY, destination=destination)) if chain.isolates else chain
    if not chain.isolates:
        advice = 'give a hop isolate="session", as in Hop("tor", "socks5", "127.0.0.1:9050", isolate="session")'
        raise ValueError(f"isolation is given, and no hop of the chain isolates; {advice}")
    key = hmac.digest(_KEY, as_text(isolation, "isolation").encode("utf-8", "surrogatepass"), "sha256")
    return isolated_chain(chain, Circumstances(key, destination=destination, session=b""))
