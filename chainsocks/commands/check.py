"""`chainsocks check`: report the problems of a file, show what it amounts to, or explain one request."""

from __future__ import annotations

from pathlib import Path

import click

from chainsocks.commands import load_command
from chainsocks.commands.configuration import not_found, one_of
from chainsocks.commands.console import open_console
from chainsocks.config.load import read_file
from chainsocks.config.places import find_config
from chainsocks.errors import ConfigError, Problem
from chainsocks.protocol.address import printable
from chainsocks.session.own_listeners import hops_that_lead_back
from chainsocks.tools.check import show_config
from chainsocks.tools.document import as_document
from chainsocks.tools.warnings import warnings

__all__ = ["check"]

WRONG = 2

_MORE = Problem("", "there may be more; mend these and check again")
"""What is said behind problems that keep others from being found."""


def check(
    *,
    file: Path | None,
    path: Path | None,
    printed: bool,
    explain: str | None,
    host: str | None,
    user: str | None,
    what: str,
    socks: str,
    as_json: bool,
) -> int:
    """Print what was asked for, and return the exit status: 1 if the request to explain is not allowed, otherwise 0.

    With `as_json`, the problems of a file are printed as well, and the exit status is 2.

    Raises:
        ConfigError: the file has problems.
        UsageError: options that cannot be.
    """
    named = one_of(file, path)
    path = named or find_config()
    if path is None:
        raise click.UsageError(f"{not_found()}; name it: chainsocks check FILE")
    if explain is None and (host is not None or user is not None):
        raise click.UsageError("--from and --user need --explain HOST:PORT")
    if printed and (explain is not None or as_json):
        raise click.UsageError("--print cannot be used together with --explain or --json")
    try:
        loaded = read_file(path, lint=True, check=hops_that_lead_back if explain is None else None)
    except ConfigError as error:
        if as_json:
            click.echo(as_document(path, problems=error.problems))
            return WRONG
        if error.is_whole:
            raise
        raise ConfigError([*error.problems, _MORE], error.source) from None
    if explain is not None:
        question = {"host": host, "user": user, "what": what, "socks": socks, "as_json": as_json}
        status: int = load_command("explain")(loaded.config, explain, **question)
        return status
    found = [*map(str, loaded.warnings), *warnings(loaded.config)]
    if as_json:
        click.echo(as_document(path, loaded.config, warnings=found))
        return 0
    if printed:
        load_command("print_config")(loaded, path)
        return 0
    if not named:
        click.echo(f"file: {printable(str(path.absolute()))}")
    show_config(loaded.config, open_console())
    for warning in found:
        click.echo(f"warning: {warning}", err=True)
    return 0
