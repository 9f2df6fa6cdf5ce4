"""The tables of a configuration file: which there are, with their models, and how often each of them stands there.

Reading a file, printing one and its JSON Schema go by this list: a table that is in it has all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from chainsocks.config.schema import (
    ControlTable,
    HealthTable,
    LimitsTable,
    LogTable,
    ServerTable,
    TimeoutsTable,
    UserTable,
)
from chainsocks.config.schema_routing import ChainTable, GroupTable, HopTable, RuleTable
from chainsocks.config.schema_web import WebTable
from chainsocks.config.tables import Table

__all__ = ["SECTIONS", "Section", "Shape"]


class Shape(Enum):
    """How often a table stands in a file."""

    ONE = auto()
    """Once, as ``[server]``."""
    NAMED = auto()
    """Once for each name, as ``[hops.paris]``, or under a name in ``[hops]``."""
    LISTED = auto()
    """As often as needed, in order, as ``[[rules]]``."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file."""

    model: type[Table]
    shape: Shape


SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "server": Section(ServerTable, Shape.ONE),
        "timeouts": Section(TimeoutsTable, Shape.ONE),
        "health": Section(HealthTable, Shape.ONE),
        "limits": Section(LimitsTable, Shape.ONE),
        "log": Section(LogTable, Shape.ONE),
        "control": Section(ControlTable, Shape.ONE),
        "web": Section(WebTable, Shape.ONE),
        "hops": Section(HopTable, Shape.NAMED),
        "groups": Section(GroupTable, Shape.NAMED),
        "chains": Section(ChainTable, Shape.NAMED),
        "rules": Section(RuleTable, Shape.LISTED),
        "users": Section(UserTable, Shape.LISTED),
    }
)
"""The tables by their names, in the order in which they are printed."""
