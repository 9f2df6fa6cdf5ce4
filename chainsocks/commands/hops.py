"""`chainsocks hops`: the health of the running server's hops, and its change by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
from rich.table import Table

from chainsocks.commands.console import open_console
from chainsocks.commands.running import ask_server
from chainsocks.control.messages import Count, Hop, HopState, Request, What
from chainsocks.control.wire import as_document, from_document
from chainsocks.protocol.address import printable
from chainsocks.tools.running import show_duration, show_latency
from chainsocks.tools.tables import plain_table, print_lines, print_table

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
        console = open_console()
        print_table(_table(found), console)
        print_lines(_failures(found), console)


def _table(found: Sequence[Hop]) -> Table:
    """Return a table that fits 80 columns, as long as names and addresses are short; columns have something in them."""
    table = plain_table("hop", "address", "chains", "state")
    columns = {
        "since": ["" if each.since is None else show_duration(each.since) for each in found],
        "retry": [*map(_retry, found)],
        "sessions": [str(each.sessions) for each in found],
        "latency": ["" if each.latency is None else show_latency(each.latency) for each in found],
        "success": ["" if each.success is None else f"{show_duration(each.success)} ago" for each in found],
    }
    used = {name: cells for name, cells in columns.items() if any(cells)}
    for name in used:
        table.add_column(name, justify="right")
    for row, each in enumerate(found):
        chains = printable(", ".join(each.chains))
        more = (cells[row] for cells in used.values())
        table.add_row(printable(each.name), f"{each.protocol} {each.address}", chains, _state(each), *more)
    return table


def _state(hop: Hop) -> str:
    if 0 < hop.workers_avoiding < hop.workers:
        return f"{hop.state} in {hop.workers_avoiding} of {hop.workers} workers"
    return hop.state


def _retry(hop: Hop) -> str:
    if hop.state is not HopState.BACKOFF or hop.retry is None:
        return ""
    return show_duration(hop.retry) if hop.retry > 0 else "next request"


def _failures(found: Iterable[Hop]) -> Iterator[str]:
    """Yield why hops are not well, a line each, after an empty line."""
    lines = [f"{printable(each.name)}: {printable(each.why)}" for each in found if each.why]
    yield from ["", *lines] if lines else []
