"""Show rules as a table.

Dozens of rules are all shown. Of thousands, the first ones are, and the others are counted by their action.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.table import Table

from chainsocks.config.models import Config
from chainsocks.config.rules import Rule
from chainsocks.protocol.address import printable
from chainsocks.tools.tables import plain_table

__all__ = ["rules_table"]

SHOWN = 100
"""Rules in the table; where there are more, half as many."""

LISTED = 4
"""Values of a condition that are shown."""

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
    return ", ".join(["deny" if rule.chain is None else printable(rule.chain), *rule.limits])


def _values(values: Sequence[str]) -> str:
    more = f", and {len(values) - LISTED} more" if len(values) > LISTED else ""
    return printable(", ".join(value.strip('"') for value in values[:LISTED])) + more
