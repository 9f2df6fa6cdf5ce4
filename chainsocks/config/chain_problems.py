"""Why the hops of a chain cannot have a setting of the chain."""

from __future__ import annotations

from chainsocks.config.choices import Isolate, Resolve
from chainsocks.config.groups import Group, hops_of
from chainsocks.config.hops import Hop
from chainsocks.egress import Same
from chainsocks.protocol.address import Address, printable

__all__ = ["seal_problem", "warm_problem"]


def warm_problem(members: tuple[Hop | Group, ...], *, send_proxy: bool) -> str | None:
    """Say why no way through the places of a chain can be opened before its session is known; None when it can be."""
    if send_proxy:
        return "warm ways are opened before their clients are known, which send_proxy tells of; take one of the two out"
    if not members:
        return "warm keeps ways through hops open, and the chain has no hops"
    for hop in hops_of(members):
        if hop.source is Same.SAME:
            return (
                f"warm ways are opened before their clients are known, and hop {printable(hop.name)} has "
                'source = "same", the address by which the client came in; take one of the two out'
            )
        if hop.isolate not in (Isolate.OFF, Isolate.SESSION):
            return (
                f"warm ways are opened before their sessions are known, and hop {printable(hop.name)} has a login for "
                f'each {hop.isolate}; give the hop isolate = "session", or take warm out'
            )
    return None


def seal_problem(members: tuple[Hop | Group, ...], *, send_proxy: bool, resolver: Address | None) -> str | None:
    """Say why the places of a chain cannot be sealed; None when they can be."""
    if not members:
        return "seal hides what hops need not see, and the chain has no hops"
    if send_proxy:
        return "send_proxy tells of the client in the clear, before TLS; take seal or send_proxy out"
    if resolver:
        return "with seal, the last hop resolves names; take resolver out"
    for hop in hops_of(members):
        name = printable(hop.name)
        if not hop.tls:
            return f"hop {name} is not spoken to in TLS, so the hops before it could read all that is sent to it"
        if hop.resolve is Resolve.LOCAL:
            return f'hop {name} has resolve = "local", which shows names to the local resolver; with seal, take it out'
    return None
