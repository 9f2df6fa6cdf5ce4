"""Warn of what a configuration allows and is yet probably a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.groups import Group, hops_of
from chainsocks.config.hops import Hop
from chainsocks.config.hosts import Host
from chainsocks.config.models import Config
from chainsocks.config.rules import Network, Rule, Spoken
from chainsocks.protocol.address import Address, AddressType, printable
from chainsocks.protocol.messages import Command
from chainsocks.routing.index import NONE, Index, Question

__all__ = ["pipelined_hops", "warnings"]

NAMED = 10
"""Rules that a warning names one by one."""


def warnings(config: Config) -> list[str]:
    """Return what is allowed and yet probably a mistake."""
    found = []
    if config.default_chain is None and not config.rules:
        found.append('no chain is called "default": every request will be refused')
    used = {name for chain in config.chains.values() for name in _names(chain.hops)}
    found += [f"hop {printable(name)} is in no chain" for name in config.hops if name not in used]
    found += [f"group {printable(name)} is in no chain" for name in config.groups if name not in used]
    return [*found, *_ipv6_only(config), *_pipelining_warnings(config), *_rule_warnings(config)]


def _ipv6_only(config: Config) -> Iterator[str]:
    """Say which listeners for all IPv6 addresses have none for IPv4 beside them."""
    addresses = {each.address for each in config.server.listen if isinstance(each.address, Address)}
    for address in addresses:
        if address.host == "::" and not any(
            other.type is AddressType.IPV4 and other.port == address.port for other in addresses
        ):
            yield f"{address} accepts clients by IPv6 only: listen on 0.0.0.0:{address.port} as well for IPv4"


def _names(members: Iterable[Hop | Group]) -> Iterator[str]:
    for member in members:
        yield member.name
        if isinstance(member, Group):
            yield from _names(member.hops)


def _pipelining_warnings(config: Config) -> Iterator[str]:
    """Say what the pipelined hops have to support."""
    if names := dict.fromkeys(hop.name for chain in config.chains.values() for hop in pipelined_hops(chain)):
        yield (
            f"pipelining is on for {', '.join(map(printable, names))}: through a hop that does not support it, such as "
            "microsocks, every dial times out (`chainsocks probe --pipeline` tests that)"
        )


def pipelined_hops(chain: Chain) -> list[Hop]:
    """Return the hops of a chain with pipelining, those of its groups too."""
    return [hop for hop in hops_of(chain.hops) if hop.pipelined(chain.pipeline) is not Pipeline.OFF]


def _rule_warnings(config: Config) -> Iterator[str]:
    """Say which rules can never match, as far as single earlier rules show that, and which use the local resolver."""
    useless = list(_useless(config.rules))
    for blocking, number in useless[:NAMED]:
        yield f"rule {number} can never match: all of it is matched first by {_runs(blocking)}"
    if len(useless) > NAMED:
        yield f"{len(useless) - NAMED} more rules can never match"
    if resolving := [rule.number for rule in config.rules if rule.resolve]:
        yield f"names are resolved locally for {_runs(resolving)} (resolve): the local resolver sees the destinations"


def _useless(rules: Sequence[Rule]) -> Iterator[tuple[set[int], int]]:
    """Yield the numbers of rules that can never match, each behind those of the earlier rules that match all of it."""
    blockers = [
        rule for rule in rules if not (rule.ports or rule.clients or rule.users or rule.commands or rule.versions)
    ]
    by_number = {rule.number: rule for rule in blockers}
    index = Index(blockers)
    for rule in rules:
        firsts = {_first(index, by_number, host) for host in _hosts(rule)}
        if max(firsts) < rule.number:
            yield firsts, rule.number


def _hosts(rule: Rule) -> Iterator[Host | Network]:
    """Yield what a rule is for; an empty host stands for any."""
    yield from rule.to.networks
    yield from map(Host, rule.to.names)
    yield from (Host(f"*.{suffix}") for suffix in rule.to.suffixes)
    if not (rule.to.networks or rule.to.names or rule.to.suffixes):
        yield Host()


def _first(index: Index, rules: dict[int, Rule], host: Host | Network) -> int:
    """Return the first of the rules that matches some of a host or network, if it matches all of it."""
    if isinstance(host, Host):
        return index.first(_question(host))
    number = index.first(_question(Host("", (host.network_address.packed,))))
    if number == NONE:
        return NONE
    networks = rules[number].to.networks
    return number if not networks or any(_contains(network, host) for network in networks) else NONE


def _question(host: Host) -> Question:
    return Question(host, -1, (), None, Command.CONNECT, Spoken.SOCKS5)


def _contains(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and network.prefixlen <= other.prefixlen
        and network.network_address.packed <= other.network_address.packed
        and other.broadcast_address.packed <= network.broadcast_address.packed
    )


def _runs(numbers: Iterable[int]) -> str:
    """Name rules, consecutive ones as a range."""
    runs = []
    for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        runs.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else str(members[0]))
    listed = ", ".join(runs[:NAMED]) + (", ..." if len(runs) > NAMED else "")
    return f"rule {listed}" if listed.isdigit() else f"rules {listed}"
