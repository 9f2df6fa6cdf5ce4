"""Ask the resolver behind a chain for what has no addresses in it: MX, SRV, TXT, HTTPS and so on.

The chain is the one that the rules have for the name. Its resolver is asked by DNS over TCP through all of its hops.
Where it has none, the name has no such records (NODATA): nothing is asked outside the chain.
"""

from __future__ import annotations

import importlib
import logging
from typing import Protocol, cast

import anyio

from chainsocks.chain.dns_stream import exchange
from chainsocks.chain.operations import open_connection
from chainsocks.config.chains import Chain
from chainsocks.errors import DialError, ProtocolError, RequestRefused
from chainsocks.observe.privacy import shown
from chainsocks.protocol.address import Address
from chainsocks.protocol.dns import Query, Rcode
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.rules import Caller
from chainsocks.session.service import Service

__all__ = ["ask_behind_chain", "chain_with_resolver"]

log = logging.getLogger("chainsocks.exec")

_CALLER = Caller("127.0.0.1")


class _Forward(Protocol):
    """The module that knows DNS; it takes dnspython, which who has a resolver has."""

    def question_for(self, message: bytes) -> bytes:
        """Return the message to a resolver."""

    def answer_from(self, message: bytes, question: bytes) -> bytes:
        """Return its answer, as the program may have it."""


def chain_with_resolver(service: Service, name: str) -> Chain | None:
    """Return the chain whose resolver is to be asked for a name; None where there is none."""
    request = Request(Version.REDIRECTED, Command.RESOLVE, Address(name, 0))
    policy = service.policy_of(service.config.server.listen[0])
    chain = policy.router.decide(request, _CALLER).chain
    return chain if chain and chain.resolver and not name.endswith(".onion") else None


async def ask_behind_chain(service: Service, chain: Chain, query: Query, message: bytes) -> bytes:
    """Return the answer of a chain's resolver to a message, whose question is `query`; a failure if there is none."""
    if chain.resolver is None:
        raise RuntimeError("the chain has no resolver")
    forward = cast(_Forward, importlib.import_module("chainsocks.chain.dns_forward"))
    try:
        question = forward.question_for(message)
        _, upstream = await service.dialer.run(chain, open_connection, chain.resolver)
        try:
            answer, _ = await exchange(upstream.stream, upstream.trailing_data, question)
        finally:
            await anyio.aclose_forcefully(upstream.stream)
        return forward.answer_from(answer, question)
    except ValueError:
        return query.failure(Rcode.FORMAT_ERROR)
    except (DialError, RequestRefused, ProtocolError) as error:
        log.warning("the resolver of chain %s: %s", chain.name, shown(error))
        return query.failure(Rcode.SERVER_FAILURE)
