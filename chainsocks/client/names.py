"""Names and addresses, looked up the way that a chain's connections go (`chainsocks.chain.resolve`)."""

from __future__ import annotations

from functools import partial

from chainsocks.chain.resolve import resolve as resolve_through
from chainsocks.client.isolation import own_circuit
from chainsocks.client.network import make_dialer
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import HostLike
from chainsocks.protocol.messages import Command

__all__ = ["resolve", "resolve_ptr"]


async def resolve(host: HostLike, *, chain: Chain = DIRECT, timeouts: Timeouts | None = None) -> str:
    """Return an IP address of a name, an IPv4 one if it has one; an address is its own answer.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        RequestRefused: the chain has no resolver.
        ValueError: `host` cannot be part of a SOCKS request.
    """
    return await _ask(Command.RESOLVE, host, chain, timeouts)


async def resolve_ptr(host: HostLike, *, chain: Chain = DIRECT, timeouts: Timeouts | None = None) -> str:
    """Return the name of an IP address.

    Raises:
        DialError, RequestRefused, ValueError: as `resolve` does.
    """
    return await _ask(Command.RESOLVE_PTR, host, chain, timeouts)


async def _ask(command: Command, host: HostLike, chain: Chain, timeouts: Timeouts | None) -> str:
    subject = destination_of(host, 0)
    operation = partial(resolve_through, command=command)
    _, answer = await make_dialer(timeouts).run(own_circuit(chain, subject), operation, subject, key=subject.packed)
    return answer.host
