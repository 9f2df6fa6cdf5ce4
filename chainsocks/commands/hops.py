"""`chainsocks hops`: the health of the running server's hops, and its change by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click
from rich.table import Table

from chainsocks.commands.console import open_console
from chainsocks.commands.running import ask_server
from chainsocks.control.messages import Count, Hop, Request, What, as_document, from_document
from chainsocks.protocol.address import printable
from chainsocks.tools.running import show_duration, show_latency, show_state
from chainsocks.tools.tables import plain_table, print_table

__all__ = ["hops"]


def hops(*, path: Path | None, control: Path | None, rest: str | None, wake: str | None, as_json: bool) -> None:
    """Print the health of all hops, after the change if one is asked for.

    Raises:
        UsageError: two changes at a time.
        ControlError: no hop has the name.
    """
    if rest is not None and wake is not None:
        raise click.UsageError("--rest and --wake do not go together")
    with ask_server(path, control, changes=rest is not None or wake is not None) as client:
        for what, name in ((What.REST, rest), (What.WAKE, wake)):
            if name is not None:
                [answer] = client.ask(Request(what=what, hop=name))
                from_document(Count, answer.document)
        found = client.hops()
    if as_json:
        click.echo(json.dumps({"hops": [*map(as_document, found)]}))
    else:
        print_table(_table(found), open_console())


def _table(found: Iterable[Hop]) -> Table:
    table = plain_table("hop", "address", "chains", "state")
    for name in ("sessions", "latency"):
        table.add_column(name, justify="right")
    table.add_column("last success")
    table.add_column("why")
    for each in found:
        table.add_row(
            printable(each.name),
            f"{each.protocol} {each.address}",
            printable(", ".join(each.chains)),
            show_state(each),
            str(each.sessions),
            "" if each.latency is None else show_latency(each.latency),
            "" if each.success is None else f"{show_duration(each.success)} ago",
            printable(each.why or ""),
        )
    return table
