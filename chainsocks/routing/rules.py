"""Decide which chain a request goes through, by the rules of the configuration.

1. The first rule that matches decides. Where none does, it is the chain called "default"; without one, where chains or
   hops are declared, nobody is served; with neither, the way is direct.
2. A name is matched as it was asked for, in the form of `chainsocks.config.hosts`, and never by its addresses; but for
   rules that say so (`Rule.resolve`). A decision that comes to one of those asks for a look-up, once.
3. A look-up that fails matches rules that deny and no others: what cannot be told is not let through.
4. What is decided on is what is dialled: an IP address in disguise is spelt out, and a direct way goes to the addresses
   that were looked up, without a second look-up that might find others.

Nothing here waits, or asks anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_pton

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.hosts import Host, host_of, host_of_ip, spelt_out
from chainsocks.config.models import Config
from chainsocks.config.rules import DIRECTLY, Rule, Spoken
from chainsocks.protocol.address import Address, AddressType, printable
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.index import NONE, Index, Question

__all__ = ["Caller", "Decision", "Router"]

NOWHERE = Host()
"""The host of an association: where its datagrams go is not known yet."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A client, as far as routing may depend on it."""

    host: str = ""
    """Its IP address; empty on a unix socket."""
    user: bytes | None = field(default=None, repr=False)
    """The name that it has logged in with, or that ident confirms; None if neither was checked."""

    @property
    def ips(self) -> tuple[bytes, ...]:
        """Its IP address as 4 or 16 bytes; nothing on a unix socket."""
        if not self.host:
            return ()
        if ":" in self.host:
            return host_of_ip(inet_pton(AF_INET6, self.host.partition("%")[0])).ips
        return (inet_pton(AF_INET, self.host),)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request."""

    destination: Address
    """What to ask for; but for addresses in disguise, what the client has asked for."""
    chain: Chain | None = None
    """None when the request is refused; `refusal` says why."""
    rule: Rule | None = None
    """The rule that decided; None when none matched."""
    refusal: str = ""
    needs_addresses: bool = False
    """Nothing is decided yet: decide again, with the addresses of the destination's name."""
    addresses: tuple[Address, ...] | None = None
    """The only addresses that a direct way may go to, where the name was looked up; none if that failed."""


class Router:
    """The rules of a configuration, ready for many requests."""

    def __init__(self, config: Config) -> None:
        self._chains = {**config.chains, DIRECTLY: DIRECT}
        self.default = config.default_chain
        """Where requests go that no rule matches; None for nowhere."""
        self._rules = {rule.number: rule for rule in config.rules}
        resolving = [rule for rule in config.rules if rule.resolve]
        self._asked = Index(config.rules)
        self._looking = Index(resolving, where=False)
        self._found = Index(
            [replace(rule, to=replace(rule.to, names=frozenset(), suffixes=frozenset())) for rule in resolving]
        )
        self._unfound = Index([rule for rule in resolving if rule.chain is None], where=False)

    @property
    def has_rules(self) -> bool:
        """Whether there is any rule. Without one, all requests go the same way."""
        return bool(self._rules)

    def decide(self, request: Request, caller: Caller, addresses: Sequence[Address] | None = None) -> Decision:
        """Decide on a request; `addresses` are those of its destination's name, once they are known, and may be none.

        A UDP association is decided on before it is known where its datagrams go: by the rules without ``to`` and
        ``ports``. For each of the datagrams, `decide_datagram` does the rest.
        """
        if request.command is Command.UDP_ASSOCIATE:
            question = _question(request, caller, NOWHERE, -1)
            return self._conclude(request.destination, self._asked.first(question))
        try:
            host = host_of(request.destination)
        except ValueError as error:
            return Decision(request.destination, refusal=str(error))
        question = _question(request, caller, host, request.destination.port)
        number = self._asked.first(question)
        destination = spelt_out(request.destination, host)
        if addresses is not None:
            return self._with_addresses(question, number, destination, addresses)
        if host.name and not host.ips and self._looking.first(question, number) < number:
            return Decision(destination, needs_addresses=True)
        return self._conclude(destination, number)

    def decide_datagram(self, request: Request, caller: Caller, destination: Address) -> Decision:
        """Decide on a datagram of the association that `request` has asked for.

        Nothing waits for a look-up here: where a rule wants one, it counts as failed.
        """
        asked = replace(request, destination=destination)
        try:
            host = host_of(destination)
        except ValueError as error:
            return Decision(destination, refusal=str(error))
        question = _question(asked, caller, host, destination.port)
        number = self._asked.first(question)
        if host.name and not host.ips:
            number = self._unfound.first(question, number)
        return self._conclude(spelt_out(destination, host), number)

    def _with_addresses(
        self, question: Question, asked: int, destination: Address, addresses: Sequence[Address]
    ) -> Decision:
        """Decide once a name has been looked up; `asked` is the first rule that matches without that."""
        if addresses:
            ips = tuple(ip for address in addresses for ip in host_of_ip(address.packed).ips)
            number = self._found.first(question._replace(host=Host("", ips)), asked)
        else:
            number = self._unfound.first(question, asked)
        decision = self._conclude(destination, number)
        usable = tuple(addresses)
        if number != asked and decision.rule:  # it matched by some of them
            usable = tuple(address for address in addresses if _is_among(address, decision.rule))
        refusal = decision.refusal
        if decision.rule and decision.rule.resolve and not addresses:
            refusal += f": a look-up of {printable(destination.host)} found no address to compare"
        return replace(decision, addresses=usable, refusal=refusal)

    def _conclude(self, destination: Address, number: int) -> Decision:
        """Say what follows from the first rule that matches, or from none."""
        if number == NONE:
            if self.default is None:
                what = (
                    'no rule matches, and no chain is called "default"'
                    if self._rules
                    else 'no chain is called "default"'
                )
                return Decision(destination, refusal=what)
            return Decision(destination, self.default)
        rule = self._rules[number]
        if rule.chain is None:
            return Decision(destination, None, rule, f"rule {number} says no")
        return Decision(destination, self._chains[rule.chain], rule)


def _question(request: Request, caller: Caller, host: Host, port: int) -> Question:
    version = Spoken.SOCKS5
    if request.version is Version.SOCKS4:
        by_name = request.destination.type is AddressType.DOMAINNAME
        version = Spoken.SOCKS4A if by_name else Spoken.SOCKS4
    return Question(host, port, caller.ips, caller.user, request.command, version)


def _is_among(address: Address, rule: Rule) -> bool:
    """Whether an address is in one of the networks that a rule is for."""
    ips = [ip_address(ip) for ip in host_of_ip(address.packed).ips]
    return any(ip in network for ip in ips for network in rule.to.networks)
