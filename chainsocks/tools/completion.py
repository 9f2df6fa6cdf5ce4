"""Values that a shell completes: names from the configuration file, and topics of the manual.

The file is parsed and not checked: a shell runs this at each press of the tab key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from chainsocks.config.places import find_config
from chainsocks.config.rules import DIRECTLY
from chainsocks.config.toml import parse_toml
from chainsocks.protocol.masking import may_be_login
from chainsocks.tools.topics import topics

__all__ = ["VALUES"]

LARGEST = 2**20
"""Bytes of a file whose names are completed."""


def _chains(context: click.Context) -> Iterator[str]:
    yield from _names(context, "chains")
    yield DIRECTLY


def _hops(context: click.Context) -> Iterator[str]:
    return _names(context, "hops")


def _users(context: click.Context) -> Iterator[str]:
    users = _table(context).get("users")
    entries = users if isinstance(users, list) else []
    yield from (name for user in entries if isinstance(user, dict) and isinstance(name := user.get("name"), str))


def _topics(context: click.Context) -> Iterator[str]:
    yield from topics()


VALUES = {"chains": _chains, "hops": _hops, "users": _users, "topics": _topics}
"""What may be completed, by the names that `chainsocks.cli` has for it."""


def _names(context: click.Context, section: str) -> Iterator[str]:
    """Yield the names in a table, without those that may be logins."""
    table = _table(context).get(section)
    yield from (name for name in (table if isinstance(table, dict) else {}) if not may_be_login(name))


def _table(context: click.Context) -> dict[str, object]:
    """Return what is in the file that the command line names so far, or in the one that is found."""
    # What stands before an option that has no value yet is not in the parameters.
    words = (path for path in map(Path, context.args) if path.is_file())
    path: Path | None = context.params.get("path") or context.params.get("file") or next(words, None) or find_config()
    if path is None or not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            return parse_toml(file.read(LARGEST).decode("utf-8-sig"))
    except (OSError, ValueError):
        return {}
