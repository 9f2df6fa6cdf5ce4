"""Names and addresses, looked up the way that a chain's connections go (`chainsocks.chain.resolve`)."""

from __future__ import annotations

from functools import partial

from chainsocks.chain.resolve import resolve as resolve_through
from chainsocks.client.call import Call
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import HostLike
from chainsocks.protocol.messages import Command

__all__ = ["resolve", "resolve_ptr"]


async def resolve(
    host: HostLike, *, chain: Chain = DIRECT, timeout: float | None = None, timeouts: Timeouts | None = None
) -> str:
    """Return an IP address of a name, an IPv4 one if it has one; an address is its own answer.

    `timeout` is the limit of all of it, in seconds, beside those of `timeouts`.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        RequestRefused: the chain has no resolver.
        ValueError: `host` cannot be part of a SOCKS request.
    """
    return await _ask(Command.RESOLVE, host, chain, timeout, timeouts)


async def resolve_ptr(
    host: HostLike, *, chain: Chain = DIRECT, timeout: float | None = None, timeouts: Timeouts | None = None
) -> str:
    """Return the name of an IP address.

    Raises:
        DialError, RequestRefused, ValueError: as `resolve` does.
    """
    return await _ask(Command.RESOLVE_PTR, host, chain, timeout, timeouts)


async def _ask(command: Command, host: HostLike, chain: Chain, timeout: float | None, timeouts: Timeouts | None) -> str:
    subject = destination_of(host, 0)
    call = Call(chain, timeouts, timeout, subject)
    operation = partial(resolve_through, command=command)
    _, answer = await call.dialer.run(call.chain, operation, subject, key=subject.packed)
    return answer.host
