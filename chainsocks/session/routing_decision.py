"""The routing decision of a request: apply the rules, resolve the name if a rule needs it, enforce names_only.

1. The decision comes before any hop is dialled, and before a lookup for the dial.
2. A name is resolved once at most: the addresses that the rules have seen are the ones that are connected to.
3. A refusal is answered with 02; with 04, where a direct way has no address.

`chainsocks check --explain` calls the same function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from chainsocks.chain.trip import Known
from chainsocks.config.chains import Chain
from chainsocks.config.choices import NamesOnly
from chainsocks.config.hosts import host_of
from chainsocks.config.models import Config
from chainsocks.config.rules import Rule
from chainsocks.errors import RequestRefused
from chainsocks.network import Network
from chainsocks.observe.privacy import private, shown
from chainsocks.protocol.address import Address, printable
from chainsocks.protocol.messages import Command, ReplyCode, Request, Version
from chainsocks.routing.isolation import Circumstances, isolated_chain
from chainsocks.routing.rules import Caller, Decision, Router

__all__ = [
    "Filter",
    "Policy",
    "RoutingDecision",
    "asks_for_address",
    "datagram_filter",
    "names_an_address",
    "route_at_once",
    "route_request",
    "stricter",
    "warn_of_address",
]

Filter = Callable[[Address], Address | None]
"""Returns the destination to write into a datagram; None when the datagram must not pass."""

_NO_DESTINATION = {Command.UDP_ASSOCIATE, Command.RESOLVE, Command.RESOLVE_PTR}
"""Commands that connect to nothing, so that names_only has nothing to check."""

OFF, WARN = NamesOnly.OFF, NamesOnly.WARN  # looked up once: each request asks for them

log = logging.getLogger("chainsocks.session")


@dataclass(frozen=True, slots=True)
class Policy:
    """What decides on requests; made by `of`, once for a configuration and the chain that a listener names."""

    router: Router
    login_required: bool
    resolve: float
    """Seconds for a lookup that a rule needs."""
    isolation_key: bytes

    @classmethod
    def of(cls, config: Config, chain: str | None = None) -> Policy:
        """Return the policy of a configuration, for listeners with that `chain`."""
        required = bool(config.users) or config.requires_gssapi
        return cls(Router(config, chain), required, config.timeouts.resolve, config.isolation_key)


class RoutingDecision(NamedTuple):
    """What becomes of a request."""

    destination: Address
    """What to ask the last hop for."""
    chain: Chain | None = None
    """The chain as it is configured; None where the rules refuse."""
    dialled: Chain | None = None
    """The same chain, whose hops have the logins that `isolate` makes for this session."""
    names_only: NamesOnly = NamesOnly.OFF
    """The stricter one of the listener's and the chain's."""
    rule: Rule | None = None
    """The rule that decided; None when none matched."""
    matched: str = ""
    """The number of that rule, "-" when none matched; empty where there are no rules, or none was applied."""
    addresses: tuple[Address, ...] | None = None
    """The addresses that a direct way may use, where a rule had the name resolved; empty if that failed."""
    refusal: RequestRefused | None = None
    """Why the request is refused; None when it is carried out."""

    @property
    def known(self) -> Known | None:
        """Addresses not to be resolved a second time, for a dial."""
        return {self.destination.host: self.addresses} if self.addresses else None

    @property
    def warns(self) -> bool:
        """Whether names_only asks for a warning about requests like this one, if they name an IP address."""
        return self.names_only is WARN and self.refusal is None


async def route_request(
    request: Request, caller: Caller, policy: Policy, network: Network, names_only: NamesOnly = NamesOnly.OFF
) -> RoutingDecision:
    """Decide which chain a request goes through, or that it is refused.

    `names_only` is that of the listener. A lookup that a rule needs has a limit of its own.
    """
    decision = route_at_once(request, caller, policy, names_only)
    if decision is None:
        found = await _look_up(request, caller, policy, network)
        decided = policy.router.decide(request, caller, found)
        decision = _completed(_decided(decided, has_rules=True), request, caller, policy, names_only)
    return decision


def route_at_once(
    request: Request, caller: Caller, policy: Policy, names_only: NamesOnly = NamesOnly.OFF
) -> RoutingDecision | None:
    """Decide as `route_request` does; return None where a rule needs a lookup."""
    router, destination = policy.router, request.destination
    if problem := _login_problem(request, caller, policy):
        return _refused(RoutingDecision(destination), problem)
    if router.default and not router.has_rules:
        decision = RoutingDecision(destination, router.default, router.default, router.default.names_only)
    else:
        decided = router.decide(request, caller)
        if decided.needs_addresses:
            return None
        decision = _decided(decided, has_rules=router.has_rules)
    return _completed(decision, request, caller, policy, names_only)


def _completed(
    decision: RoutingDecision, request: Request, caller: Caller, policy: Policy, names_only: NamesOnly
) -> RoutingDecision:
    """Apply names_only and `isolate` to what the rules have decided."""
    chain = decision.chain
    if chain is None or decision.refusal:
        return decision
    if names_only is not OFF or decision.names_only is not OFF:
        decision = decision._replace(names_only=stricter(names_only, decision.names_only))
        if decision.names_only is NamesOnly.REFUSE and asks_for_address(request):
            return _refused(decision, "names_only: the client asks for an IP address")
    if chain.isolates:
        one = None if request.command is Command.UDP_ASSOCIATE else decision.destination
        circumstances = Circumstances(policy.isolation_key, caller, one)
        decision = decision._replace(dialled=isolated_chain(chain, circumstances))
    return decision


def _login_problem(request: Request, caller: Caller, policy: Policy) -> str | None:
    """Say why a client that has to log in has not. What an identd says is no login.

    A tunnel asks for none: it leads to one destination, which the configuration names. DNS has none.
    """
    if not policy.login_required or request.version in (Version.TUNNEL, Version.DNS):
        return None
    if request.version is Version.SOCKS4 and not caller.has_certificate:
        return "SOCKS4 cannot log in, and a login is required"
    return None if caller.has_logged_in else "a login is required"


def _refused(
    decision: RoutingDecision, problem: str, code: ReplyCode = ReplyCode.NOT_ALLOWED_BY_RULESET, discreet: str = ""
) -> RoutingDecision:
    return decision._replace(refusal=RequestRefused(problem, code, discreet=discreet))


async def _look_up(request: Request, caller: Caller, policy: Policy, network: Network) -> list[Address]:
    """Resolve the destination for the rules; a lookup that times out has found nothing."""
    found: list[Address] = []
    with network.open_scope(network.now() + policy.resolve):
        try:
            found = await network.resolve(request.destination, caller.account)
        except OSError as error:
            host = private(printable(request.destination.host))
            log.debug("= rules: no address for %s: %s", host, error.strerror or shown(error))
    return found


def _decided(decision: Decision, *, has_rules: bool) -> RoutingDecision:
    """Make a routing decision of what the rules say."""
    chain, rule, addresses = decision.chain, decision.rule, decision.addresses
    names_only = chain.names_only if chain else NamesOnly.OFF
    matched = str(rule.number) if rule else "-" if has_rules else ""
    routed = RoutingDecision(decision.destination, chain, chain, names_only, rule, matched, addresses)
    if chain is None:
        return _refused(routed, decision.refusal)
    if addresses is not None and not (addresses or chain.hops):
        problem = "no address for {}, which the rules asked for"
        whole, discreet = (problem.format(host) for host in (printable(decision.destination.host), "the destination"))
        return _refused(routed, whole, ReplyCode.HOST_UNREACHABLE, discreet)
    return routed


def stricter(one: NamesOnly, other: NamesOnly) -> NamesOnly:
    """Return the stricter one."""
    return max(one, other, key=list(NamesOnly).index)


def asks_for_address(request: Request) -> bool:
    """Whether a request is for an IP address. A BIND for 0.0.0.0 has no destination to check."""
    destination = request.destination
    anyone = request.command is Command.BIND and not destination.packed.strip(b"\0")
    return not (request.command in _NO_DESTINATION or anyone) and names_an_address(destination)


def datagram_filter(
    router: Router, request: Request, caller: Caller, decision: RoutingDecision, who: str
) -> Filter | None:
    """Return the filter for the datagrams of an association, or None where all of them pass.

    A datagram passes if the rules send it through the same chain. With names_only, `who` is named in the warning.
    """
    names_only, chain = decision.names_only, decision.chain
    if request.version is Version.TUNNEL:
        return None  # the decision was about its only destination
    if not router.has_rules and names_only is NamesOnly.OFF:
        return None
    warned = names_only is NamesOnly.OFF

    def filter_(destination: Address) -> Address | None:
        nonlocal warned
        if not warned and names_an_address(destination):
            if names_only is NamesOnly.REFUSE:
                return None
            warned = True
            warn_of_address(who, destination)
        judged = router.decide_datagram(request, caller, destination)
        return judged.destination if judged.chain is chain else None

    return filter_


def warn_of_address(who: str, destination: Address) -> None:
    """Log that a client asks for an IP address: it may have resolved a name itself."""
    asked = private(f" of {destination}", "")
    log.warning("%s asks for the IP address%s: it may have resolved a name itself (names_only)", who, asked)


def names_an_address(destination: Address) -> bool:
    """Whether a destination is an IP address, in whatever spelling, or at least no name."""
    try:
        return not host_of(destination).name
    except ValueError:
        return True
