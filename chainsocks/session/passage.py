"""Find the way of a request: ask the rules, look a name up where they want that, and mind who names IP addresses.

1. All of this comes before any hop is dialled, and before a look-up for the dial.
2. A name is looked up once at most. The addresses that the rules have seen are the ones that are connected to.
3. What is refused here is answered with 02; with 04, where a direct way has no address.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from chainsocks.chain.network import CancelScope, Network
from chainsocks.config.chains import Chain
from chainsocks.config.hops import NamesOnly
from chainsocks.config.hosts import host_of
from chainsocks.errors import RequestRefused
from chainsocks.protocol.address import Address, printable
from chainsocks.protocol.messages import Command, ReplyCode, Request, Version
from chainsocks.routing.isolation import Circumstances, isolated_chain
from chainsocks.routing.rules import Caller, Decision, Router
from chainsocks.session.pinned import PassageNetwork, PinnedNetwork
from chainsocks.session.record import Record
from chainsocks.session.service import Service

__all__ = [
    "Judge",
    "Passage",
    "check_login",
    "decide",
    "find_passage",
    "judge_of",
    "mind_addresses",
    "names_an_address",
    "passage_of",
    "stricter",
]

Judge = Callable[[Address], Address | None]
"""Says what a datagram's destination is to be written as; None when the datagram must not pass."""

_NAMING_NOBODY = {Command.UDP_ASSOCIATE, Command.RESOLVE, Command.RESOLVE_PTR}
"""Commands that go nowhere: what is looked up by these is not connected to."""

log = logging.getLogger("chainsocks.session")


@dataclass(frozen=True, slots=True)
class Passage:
    """The way of a request."""

    chain: Chain
    destination: Address
    """What to ask for."""
    network: PassageNetwork
    """What to dial on."""
    names_only: NamesOnly
    """What is to be done about IP addresses."""
    declared: Chain | None = None
    """The chain as it is configured, where its hops have got logins of this session's own."""


async def find_passage(
    request: Request, caller: Caller, service: Service, record: Record, names_only: NamesOnly, scope: CancelScope
) -> Passage:
    """Find the way of a request that came by a listener with `names_only`. `scope` gets rid of its deadline.

    Raises:
        RequestRefused: it has none.
    """
    router, network, config = service.router, service.network, service.config
    check_login(request, caller, required=service.logins.required or config.requires_gssapi)
    if router.default and not router.has_rules:
        passage = Passage(router.default, request.destination, network, router.default.names_only)
    else:
        scope.deadline = math.inf  # the request is in time; a look-up has a limit of its own
        decision = await decide(router, request, caller, network, config.timeouts.resolve)
        if router.has_rules:
            record.rule = str(decision.rule.number) if decision.rule else "-"
        passage = passage_of(decision, network)
    chain = record.chain = passage.chain
    if names_only is not NamesOnly.OFF or passage.names_only is not NamesOnly.OFF:
        passage = replace(passage, names_only=stricter(names_only, passage.names_only))
        mind_addresses(passage.names_only, request, record.who)
    if chain.isolates:
        one = None if request.command is Command.UDP_ASSOCIATE else passage.destination
        circumstances = Circumstances(config.isolation_key, caller, one)
        passage = replace(passage, chain=isolated_chain(chain, circumstances), declared=chain)
    return passage


def check_login(request: Request, caller: Caller, *, required: bool) -> None:
    """See that a client has logged in where it has to. What an identd says is no login.

    Raises:
        RequestRefused: it has not.
    """
    if required and request.version is Version.SOCKS4:
        raise RequestRefused("SOCKS4 cannot log in, and a login is required", ReplyCode.NOT_ALLOWED_BY_RULESET)
    if required and caller.user is None:
        raise RequestRefused("a login is required", ReplyCode.NOT_ALLOWED_BY_RULESET)


async def decide(router: Router, request: Request, caller: Caller, network: Network, seconds: float) -> Decision:
    """Let the rules decide; a look-up that they want has so many seconds, and has found nothing when they are over."""
    decision = router.decide(request, caller)
    if not decision.needs_addresses:
        return decision
    found: list[Address] = []
    with network.open_scope(network.now() + seconds):
        try:
            found = await network.resolve(request.destination)
        except OSError as error:
            log.debug("= rules: no address for %s: %s", printable(request.destination.host), error.strerror or error)
    return router.decide(request, caller, found)


def passage_of(decision: Decision, network: PassageNetwork) -> Passage:
    """Return the way that the rules have decided on.

    Raises:
        RequestRefused: there is none.
    """
    chain, addresses = decision.chain, decision.addresses
    if chain is None:
        raise RequestRefused(decision.refusal, ReplyCode.NOT_ALLOWED_BY_RULESET)
    if addresses is not None and not (addresses or chain.hops):
        host = printable(decision.destination.host)
        raise RequestRefused(f"no address for {host}, which the rules asked for", ReplyCode.HOST_UNREACHABLE)
    if addresses:
        network = PinnedNetwork(network, decision.destination, addresses)
    return Passage(chain, decision.destination, network, chain.names_only)


def stricter(one: NamesOnly, other: NamesOnly) -> NamesOnly:
    """Return the stricter one."""
    return max(one, other, key=list(NamesOnly).index)


def mind_addresses(names_only: NamesOnly, request: Request, who: str) -> None:
    """Warn of a request for an IP address, or refuse it. A BIND that lets anyone in names nobody.

    Raises:
        RequestRefused: that is what is to be done.
    """
    destination = request.destination
    anyone = request.command is Command.BIND and not destination.packed.strip(b"\0")
    if names_only is NamesOnly.OFF or request.command in _NAMING_NOBODY or anyone or not names_an_address(destination):
        return
    if names_only is NamesOnly.REFUSE:
        raise RequestRefused("names_only: the client asks for an IP address", ReplyCode.NOT_ALLOWED_BY_RULESET)
    _warn(who, destination)


def judge_of(router: Router, request: Request, caller: Caller, passage: Passage, who: str) -> Judge:
    """Return who judges the datagrams of an association that goes by `passage`.

    One passes if the rules send it the same way: none goes another way than they say, and none changes chains.
    """
    names_only, chain = passage.names_only, passage.declared or passage.chain
    warned = names_only is NamesOnly.OFF

    def judge(destination: Address) -> Address | None:
        nonlocal warned
        if not warned and names_an_address(destination):
            if names_only is NamesOnly.REFUSE:
                return None
            warned = True
            _warn(who, destination)
        decision = router.decide_datagram(request, caller, destination)
        return decision.destination if decision.chain is chain else None

    return judge


def _warn(who: str, destination: Address) -> None:
    log.warning("%s asks for the IP address of %s: it may have looked a name up itself (names_only)", who, destination)


def names_an_address(destination: Address) -> bool:
    """Whether a destination is an IP address, in whatever disguise, or no name at least."""
    try:
        return not host_of(destination).name
    except ValueError:
        return True
