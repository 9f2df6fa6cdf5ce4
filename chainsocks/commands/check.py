"""`chainsocks check`: report the problems of a file, show what it amounts to, or explain one request."""

from __future__ import annotations

from pathlib import Path

import click

from chainsocks.commands import load_command
from chainsocks.commands.configuration import not_found, one_of
from chainsocks.commands.console import open_console
from chainsocks.config.load import find_config, load_config
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import printable
from chainsocks.session.own_listeners import hops_that_lead_back
from chainsocks.tools.check import show_config
from chainsocks.tools.warnings import warnings

__all__ = ["check"]


def check(
    *,
    file: Path | None,
    path: Path | None,
    explain: str | None,
    host: str | None,
    user: str | None,
    what: str,
    socks: str,
    as_json: bool,
) -> int:
    """Print what was asked for, and return the exit status: 1 if the request to explain is not allowed, otherwise 0.

    Raises:
        ConfigError: the file has problems.
        UsageError: options that cannot be.
    """
    named = one_of(file, path)
    path = named or find_config()
    if path is None:
        raise click.UsageError(f"{not_found()}; name it: chainsocks check FILE")
    config = load_config(path)
    if explain is not None:
        question = {"host": host, "user": user, "what": what, "socks": socks, "as_json": as_json}
        status: int = load_command("explain")(config, explain, **question)
        return status
    if host is not None or user is not None or as_json:
        raise click.UsageError("--from, --user and --json need --explain HOST:PORT")
    if problems := list(hops_that_lead_back(config)):
        raise ConfigError(problems, str(path))
    if not named:
        click.echo(f"file: {printable(str(path.absolute()))}")
    show_config(config, open_console())
    for warning in warnings(config):
        click.echo(f"warning: {warning}", err=True)
    return 0
