"""Isolation in the library: every call is a session of its own, without a user or a client address."""

from __future__ import annotations

import os

from chainsocks.client.arguments import checked_chain
from chainsocks.config.chains import Chain
from chainsocks.protocol.address import Address
from chainsocks.routing.isolation import Circumstances, isolated_chain

__all__ = ["own_circuit"]

_KEY = os.urandom(32)


def own_circuit(chain: Chain, destination: Address | None = None) -> Chain:
    """Return `chain` with the logins that its hops get for one call; without a destination for datagrams.

    Raises:
        ValueError: it is no `Chain`.
    """
    chain = checked_chain(chain)
    return isolated_chain(chain, Circumstances(_KEY, destination=destination)) if chain.isolates else chain
