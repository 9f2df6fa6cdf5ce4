"""`chainsocks sessions`: the sessions of the running server, and their end."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.table import Table

from chainsocks.commands.console import open_console
from chainsocks.commands.running import ask_server
from chainsocks.control.messages import Count, Request, Session, What
from chainsocks.control.wire import as_document, from_document
from chainsocks.protocol.address import printable
from chainsocks.tools.running import brief_bytes, brief_duration, show_destination, show_place, show_way
from chainsocks.tools.tables import plain_table, print_table

__all__ = ["sessions"]

ALL = "all"

FAILED = 1


def sessions(
    *, path: Path | None, control: Path | None, chain: str | None, user: str | None, kill: str | None, as_json: bool
) -> int:
    """List the sessions that are meant, or end some; return the exit status.

    Raises:
        UsageError: options that do not go together.
    """
    if kill is not None and (kill == ALL) != bool(chain or user):
        raise click.UsageError("--kill all needs --chain or --user, and --kill with an id has neither")
    with ask_server(path, control, changes=kill is not None) as client:
        if kill is not None:
            session = None if kill == ALL else kill
            [answer] = client.ask(Request(what=What.KILL, session=session, chain=chain, user=user))
            ended = from_document(Count, answer.document).count
            click.echo(json.dumps({"count": ended}) if as_json else f"sessions ended: {ended}")
            return 0 if ended else FAILED
        found = client.sessions()
    meant = [each for each in found if chain in (None, each.chain) and user in (None, each.user)]
    meant.sort(key=lambda each: each.age, reverse=True)
    if as_json:
        click.echo(json.dumps({"sessions": [*map(as_document, meant)]}))
    else:
        print_table(_table(meant), open_console())
    return 0


def _table(found: list[Session]) -> Table:
    """Return a table that fits 80 columns, as long as names are short; users have a column if there are any."""
    has_users = any(each.user for each in found)
    table = plain_table("id", "client", *(["user"] if has_users else []), "destination", "way", "now")
    for name in ("age", "up", "down"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            each.id,
            each.client,
            *([printable(each.user or "")] if has_users else []),
            printable(show_destination(each)),
            printable(show_way(each)),
            show_place(each.place),
            brief_duration(each.age),
            brief_bytes(each.up),
            brief_bytes(each.down),
        )
    return table
