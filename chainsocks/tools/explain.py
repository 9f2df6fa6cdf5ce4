"""Explain what the server would do with a request, and which rule decides that.

It calls the routing decision that a session calls (`chainsocks.session.routing_decision`). It does not know which
listener the client uses, so it names those that would refuse the request. No hop is dialled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from chainsocks.chain.resolve import resolver_of
from chainsocks.config.chains import Chain
from chainsocks.config.choices import NamesOnly
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.identities import Proof, identity_problem
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config
from chainsocks.config.rules import Rule, Spoken, parse_commands
from chainsocks.config.suggest import describe
from chainsocks.errors import ConfigError, Problem, RequestRefused
from chainsocks.network import Network
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType, parse_address, printable
from chainsocks.protocol.messages import Command, ReplyCode, Request, Version
from chainsocks.routing.rules import Caller, Router
from chainsocks.server.deadlines import open_deadlines
from chainsocks.server.network import TrioNetwork
from chainsocks.session.access import Access
from chainsocks.session.own_listeners import OwnListeners
from chainsocks.session.routing_decision import (
    Policy,
    RoutingDecision,
    asks_for_address,
    datagram_filter,
    names_an_address,
    route_request,
    warn_of_address,
)
from chainsocks.tools.document import member_document

__all__ = ["Explanation", "explain", "explain_here", "read_question"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a request."""

    destination: Address
    rule: Rule | None = None
    """The rule that decided; None if no rule matched, or none was asked."""
    chain: Chain | None = None
    """None when the request is refused."""
    refusal: str = ""
    addresses: tuple[Address, ...] | None = None
    """The addresses that the rules have resolved."""
    refused_at: tuple[Listener, ...] = ()
    """The listeners that refuse it nevertheless: it is for an IP address, and they require names."""
    private_at: tuple[Listener, ...] = ()
    """The listeners whose clients get no direct way there: it is a private place of this machine."""
    elsewhere: tuple[Listener, ...] = ()
    """The listeners whose requests go through a chain of their own, and not through this one."""

    @property
    def allowed(self) -> bool:
        """Whether the request is carried out."""
        return self.chain is not None

    def lines(self) -> Iterator[str]:
        """Say it in words."""
        verdict = "allowed" if self.chain else f"refused: {printable(self.refusal)}"
        yield f"{self.destination} is {verdict}"
        yield printable(f"rule {self.rule.number}: {self.rule}") if self.rule else "no rule matches"
        if self.addresses is not None:
            found = ", ".join(printable(address.host) for address in self.addresses)
            yield f"resolved locally: {found or 'no usable address'}"
        if self.chain:
            members = [*map(_in_words, self.chain.hops), str(self.destination)]
            yield f"chain {printable(self.chain.name)}: {' -> '.join(members)}"
        if self.chain and self.chain.send_proxy:
            yield "the connection begins with a PROXY protocol header that tells of the client"
        for each in self.elsewhere:
            yield f"but through chain {printable(str(each.chain))} at {printable(str(each))}"
        if self.refused_at:
            yield f"but refused at {', '.join(printable(str(each)) for each in self.refused_at)} (names_only)"
        if self.private_at:
            yield f"but refused at {', '.join(printable(str(each)) for each in self.private_at)} (private place)"

    def json(self) -> str:
        """Return it as JSON."""
        hops = self.chain.hops if self.chain else ()
        return json.dumps(
            {
                "destination": str(self.destination),
                "let_in": self.allowed,
                "refusal": self.refusal or None,
                "rule": self.rule.number if self.rule else None,
                "text": str(self.rule) if self.rule else None,
                "addresses": None if self.addresses is None else [address.host for address in self.addresses],
                "chain": self.chain.name if self.chain else None,
                "refused_at": [str(each) for each in (*self.refused_at, *self.private_at)],
                "hops": [member_document(member) for member in hops],
                "elsewhere": [{"listener": str(each), "chain": each.chain} for each in self.elsewhere],
                "send_proxy": self.chain is not None and self.chain.send_proxy,
            }
        )


def _in_words(member: Hop | Group) -> str:
    if isinstance(member, Hop):
        return f"{printable(member.name)} ({member.scheme} {member.address})"
    return f"{printable(member.name)} ({member.pick}: {', '.join(map(_in_words, member.hops))})"


def read_question(
    config: Config, destination: str, host: str | None, user: str | None, command: str, socks: str
) -> tuple[Request, Caller]:
    """Read a request and its client from the command line.

    Raises:
        ConfigError: one of them is wrong, or the server cannot know such a client.
    """
    try:
        address = parse_address(destination)
    except ValueError as error:
        raise ConfigError([Problem("--explain", str(error))]) from None
    if host is not None and Address(host or "?", 0).type is AddressType.DOMAINNAME:
        raise ConfigError([Problem("--from", f"found {describe(host)}, expected an IP address")])
    version = _VERSIONS[Spoken(socks)]
    if socks != Spoken.SOCKS5 and (problem := _unfit(address, command, socks)):
        raise ConfigError([Problem("--socks", problem)])
    if user is not None and (problem := _unknown(config, user, version)):
        raise ConfigError([Problem("--user", problem)])
    request = Request(version, _command(command, address), address)
    return request, Caller(host or "", None if user is None else os.fsencode(user))


_VERSIONS = {
    Spoken.SOCKS4: Version.SOCKS4,
    Spoken.SOCKS4A: Version.SOCKS4,
    Spoken.SOCKS5: Version.SOCKS5,
    Spoken.HTTP: Version.HTTP,
}


def _unfit(address: Address, command: str, socks: str) -> str:
    """Say why there is no such request in SOCKS4 or HTTP."""
    if socks == Spoken.HTTP:
        return "" if command == "connect" else f"HTTP has no {command}, only connect"
    if socks == Spoken.SOCKS4 and address.type is AddressType.DOMAINNAME:
        return "SOCKS4 has no names; 4a has"
    if address.type is AddressType.IPV6:
        return "SOCKS4 has no IPv6 addresses"
    return "SOCKS4 has no UDP" if command == "udp" else ""


def _command(word: str, address: Address) -> Command:
    """Return the command that a word stands for; "resolve" of an IP address is RESOLVE_PTR."""
    commands = parse_commands(word)
    if Command.RESOLVE in commands:
        return Command.RESOLVE if address.type is AddressType.DOMAINNAME else Command.RESOLVE_PTR
    [command] = commands
    return command


def _unknown(config: Config, user: str, version: Version) -> str:
    """Say why no client can have an identity, in this version of SOCKS."""
    users = {declared.name for declared in config.users}
    other = {proof for proof, only in _ONLY_IN.items() if only is not version}
    return identity_problem(user, users, config.server.proofs - other) or ""


_ONLY_IN = {Proof.GSSAPI: Version.SOCKS5, Proof.IDENT: Version.SOCKS4}
"""The versions that some proofs are limited to."""


def explain_here(config: Config, request: Request, caller: Caller) -> Explanation:
    """Explain a request, and resolve its name on this machine if a rule needs that; see `explain`."""

    async def run() -> Explanation:
        async with open_deadlines() as deadlines:
            return await explain(config, request, caller, TrioNetwork(None, deadlines))

    return trio.run(run)


async def explain(config: Config, request: Request, caller: Caller, network: Network) -> Explanation:
    """Explain a request; the destination of a UDP association stands for that of a datagram in it."""
    policy, asked = Policy.of(config), request
    if request.command is Command.UDP_ASSOCIATE:
        asked = request._replace(destination=UNSPECIFIED)
    decision = await route_request(asked, caller, policy, network)
    rule, destination, refusal = decision.rule, decision.destination, decision.refusal
    if decision.warns and asks_for_address(asked):
        warn_of_address("this client:", asked.destination)
    if not refusal:
        refusal = _chain_problem(decision, request)
    if not refusal and asked is not request:
        judged = policy.router.decide_datagram(asked, caller, request.destination)
        rule, destination = judged.rule, judged.destination
        refusal = _datagram_problem(policy.router, asked, caller, decision, request.destination)
    if refusal:
        return Explanation(request.destination, rule, None, str(refusal), decision.addresses)
    refused_at = [listener for listener in config.server.listen if listener.names_only is NamesOnly.REFUSE]
    if not names_an_address(request.destination):
        refused_at = []
    private_at = () if decision.chain and decision.chain.hops else _guarding(config, rule, destination, decision)
    chain = decision.chain
    elsewhere = tuple(each for each in config.server.listen if each.chain and chain and each.chain != chain.name)
    return Explanation(destination, rule, chain, "", decision.addresses, tuple(refused_at), private_at, elsewhere)


def _guarding(
    config: Config, rule: Rule | None, destination: Address, decision: RoutingDecision
) -> tuple[Listener, ...]:
    """Return the listeners whose clients get no direct way to `destination`; of an unresolved name that is unknown."""
    addresses = decision.addresses or ([destination] if destination.type is not AddressType.DOMAINNAME else [])
    return tuple(
        listener
        for listener in config.server.listen
        if not config.server.private
        and any(
            Access(OwnListeners(), private=listener.is_local, rule=rule).problem(destination, address)
            for address in addresses
        )
    )


def _chain_problem(decision: RoutingDecision, request: Request) -> RequestRefused | None:
    """Say why the chain cannot carry a request, as far as that is known before any hop is dialled."""
    chain = decision.chain
    route = chain.route if chain else None
    if chain and request.command is Command.UDP_ASSOCIATE and (problem := chain.carries_no_udp):
        return RequestRefused(problem, ReplyCode.COMMAND_NOT_SUPPORTED)
    if route and request.command in (Command.RESOLVE, Command.RESOLVE_PTR):
        try:
            resolver_of(route, request.command, decision.destination)
        except RequestRefused as refusal:
            return refusal
    elif route and route.hops and (why := route.hops[-1].cannot_carry(decision.destination)):
        return RequestRefused(why, ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED)
    return None


def _datagram_problem(
    router: Router, request: Request, caller: Caller, decision: RoutingDecision, destination: Address
) -> RequestRefused | None:
    """Say why a datagram of an association is dropped."""
    passes = datagram_filter(router, request, caller, decision, "this client:")
    if passes is None or passes(destination) is not None or decision.chain is None:
        return None
    judged = router.decide_datagram(request, caller, destination)
    if judged.chain is None:
        why = judged.refusal
    elif judged.chain is decision.chain:
        why = "names_only"
    else:
        why = f"it would have to go through chain {judged.chain.name}"
    what = f"the association goes through chain {decision.chain.name}, and this datagram is dropped: {why}"
    return RequestRefused(what, ReplyCode.NOT_ALLOWED_BY_RULESET)
