"""Show rules as a table, and warn of those that are probably a mistake.

Dozens of rules are all shown. Of thousands, the first ones are, and the others are counted by their action.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.table import Table

from chainsocks.config.hosts import Host
from chainsocks.config.models import Config
from chainsocks.config.rules import Network, Rule, Spoken
from chainsocks.protocol.address import printable
from chainsocks.protocol.messages import Command
from chainsocks.routing.index import NONE, Index, Question
from chainsocks.tools.tables import plain_table

__all__ = ["rule_warnings", "rules_table"]

SHOWN = 100
"""Rules in the table; where there are more, half as many."""

LISTED = 4
"""Values of a condition that are shown."""

NAMED = 10
"""Rules that a warning names one by one."""

OTHERS = ("users", "commands", "versions")


def rules_table(config: Config) -> Table:
    """Return a row for each rule, or for the first ones and for the rest together; and one for what no rule matches."""
    table = plain_table("rule", "to", "ports", "from", "other conditions", "action")
    rules = config.rules
    shown = rules if len(rules) <= SHOWN else rules[: SHOWN // 2]
    for rule in shown:
        cells = (_values(rule.written.get(key, ())) or "any" for key in ("to", "ports", "from"))
        table.add_row(str(rule.number), *cells, ", ".join(_other_conditions(rule)), _action(rule))
    if rest := rules[len(shown) :]:
        actions = Counter(map(_action, rest)).most_common(LISTED)
        counts = ", ".join(f"{count} {action}" for action, count in actions)
        more = "" if sum(count for _, count in actions) == len(rest) else ", ..."
        table.add_row("...", f"{len(rest)} more rules: {counts}{more}")
    default = config.default_chain
    table.add_row("none", "any", "any", "any", "", printable(default.name) if default else "deny")
    return table


def _other_conditions(rule: Rule) -> Iterator[str]:
    for key in OTHERS:
        if values := rule.written.get(key):
            yield f"{key} {_values(values)}"
    if rule.resolve:
        yield "names resolved locally"


def _action(rule: Rule) -> str:
    return "deny" if rule.chain is None else printable(rule.chain)


def _values(values: Sequence[str]) -> str:
    more = f", and {len(values) - LISTED} more" if len(values) > LISTED else ""
    return printable(", ".join(value.strip('"') for value in values[:LISTED])) + more


def rule_warnings(config: Config) -> Iterator[str]:
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
