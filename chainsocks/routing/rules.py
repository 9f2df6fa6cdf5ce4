"""Decide which chain a request goes through, by the rules of the configuration.

1. The first rule that matches decides. If none matches, the chain called "default" is used. Without such a chain the
   request is refused if chains or hops are declared, and direct otherwise.
2. A name is matched as a name, in the form of `chainsocks.config.hosts`, and not by its addresses, except by rules that
   say so (`Rule.resolve`). A decision that reaches one of those asks for a lookup, once.
3. After a failed lookup only rules that deny can match: what cannot be compared is not let through.
4. The address that was matched is the one that is dialled. An IP address in an unusual form is normalized, and a direct
   way uses the addresses of the lookup, because a second lookup might find others.

No lookup is made here: addresses are passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from chainsocks.config.chains import Chain
from chainsocks.config.hosts import Host, host_of, host_of_ip, spelt_out
from chainsocks.config.identities import Proof
from chainsocks.config.models import Config
from chainsocks.config.rules import DIRECTLY, Rule, Spoken
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.index import Index, Question
from chainsocks.shares import client_of

__all__ = ["Caller", "Decision", "Router"]

_IDENT = Proof.IDENT.encode()
_CERTIFICATE = Proof.CERTIFICATE.encode()

_SPOKEN = {
    Version.SOCKS4: Spoken.SOCKS4,
    Version.SOCKS5: Spoken.SOCKS5,
    Version.HTTP: Spoken.HTTP,
    Version.REDIRECTED: Spoken.REDIRECT,
    Version.TUNNEL: Spoken.TUNNEL,
    Version.DNS: Spoken.DNS,
}

NOWHERE = Host()
"""The host of an association, whose destinations are not known yet."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A client, as far as routing may depend on it."""

    host: str = ""
    """Its IP address; empty on a unix socket."""
    user: bytes | None = field(default=None, repr=False)
    """The name that it has logged in with, or that ident confirms; None if neither was checked."""

    @property
    def has_logged_in(self) -> bool:
        """Whether it has proved its name. What an identd says is no login."""
        return self.user is not None and not self.user.startswith(_IDENT)

    @property
    def has_certificate(self) -> bool:
        """Whether the certificate of its TLS has proved its name, whatever it says behind that."""
        return self.user is not None and self.user.startswith(_CERTIFICATE)

    @property
    def account(self) -> str:
        """The client that it counts as where something is shared out fairly (`chainsocks.shares`).

        What an identd says is no login: a client with a machine of its own could be as many as it likes.
        """
        if self.user is None or not self.has_logged_in:
            return client_of(self.host)
        return client_of(self.host, self.user.decode("utf-8", "surrogateescape"))

    @property
    def ips(self) -> tuple[bytes, ...]:
        """Its IP address as 4 or 16 bytes; nothing on a unix socket."""
        if not self.host:
            return ()
        if ":" in self.host:
            return host_of_ip(inet_pton(AF_INET6, self.host.partition("%")[0])).ips
        return (inet_pton(AF_INET, self.host),)


class Decision(NamedTuple):
    """What the rules decide on a request."""

    destination: Address
    """The destination to dial: that of the request, with an IP address in normal form."""
    chain: Chain | None = None
    """None if the request is refused; `refusal` is the reason."""
    rule: Rule | None = None
    """The rule that decided; None if none matched."""
    refusal: str = ""
    needs_addresses: bool = False
    """Whether nothing is decided yet: decide again, with the addresses of the destination's name."""
    addresses: tuple[Address, ...] | None = None
    """The only addresses that a direct way may use, if the name was looked up; empty if that failed."""


class Router:
    """The rules of a configuration, ready for many requests.

    With the name of a chain as `only`, the rules only deny: all other requests go through that chain.
    """

    def __init__(self, config: Config, only: str | None = None) -> None:
        self._chains = {**config.chains, DIRECTLY: config.direct}
        self._only_deny = only is not None
        self.default = config.default_chain if only is None else self._chains.get(only)
        """The chain for requests that no rule decides on; None to refuse them."""
        self._no_chain = f'no chain is called "{"default" if only is None else only}"'
        if config.rules and only is None:
            self._no_chain = f"no rule matches, and {self._no_chain}"
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
        """Whether there is any rule. Without one, all requests use the same chain."""
        return bool(self._rules)

    def decide(self, request: Request, caller: Caller, addresses: Sequence[Address] | None = None) -> Decision:
        """Decide on a request. `addresses` are those of its destination's name if it was looked up; possibly none.

        A UDP association is decided on before its destinations are known, by the rules without ``to`` and ``ports``.
        `decide_datagram` then decides on each datagram. Those of a tunnel have one destination, which is known.
        """
        if request.command is Command.UDP_ASSOCIATE and request.version is not Version.TUNNEL:
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
        """Decide on a datagram of the association that `request` asked for.

        There is no lookup for datagrams: a rule that needs one sees it as failed.
        """
        asked = request._replace(destination=destination)
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
        """Decide after a lookup; `asked` is the first rule that matches without it."""
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
            refusal += ": a lookup of its name found no address to compare"
        return decision._replace(addresses=usable, refusal=refusal)

    def _conclude(self, destination: Address, number: int) -> Decision:
        """Return the decision of the first rule that matches, or of none."""
        rule = self._rules.get(number)
        if rule is None or (rule.chain and self._only_deny):
            return Decision(destination, self.default, refusal="" if self.default else self._no_chain)
        if rule.chain is None:
            return Decision(destination, None, rule, f"rule {number} says no")
        return Decision(destination, self._chains[rule.chain], rule)


def _question(request: Request, caller: Caller, host: Host, port: int) -> Question:
    version = _SPOKEN[request.version]
    if version is Spoken.SOCKS4 and request.destination.type is AddressType.DOMAINNAME:
        version = Spoken.SOCKS4A
    return Question(host, port, caller.ips, caller.user, request.command, version)


def _is_among(address: Address, rule: Rule) -> bool:
    """Tell whether an address is in one of the networks of a rule."""
    ips = [ip_address(ip) for ip in host_of_ip(address.packed).ips]
    return any(ip in network for ip in ips for network in rule.to.networks)
