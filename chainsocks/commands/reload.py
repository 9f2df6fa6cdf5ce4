"""`chainsocks reload`: have the running server read its configuration again."""

from __future__ import annotations

from pathlib import Path

import click

from chainsocks.commands.running import ask_server
from chainsocks.control.messages import Reloaded, Request, What
from chainsocks.control.wire import from_document
from chainsocks.protocol.address import printable

__all__ = ["reload"]

WRONG = 2

PATIENCE = 120
"""Seconds for a reload: it may read many files, and look up names."""


def reload(*, path: Path | None, control: Path | None) -> int:
    """Print what has come of it, problems as `check` does, and return the exit status."""
    with ask_server(path, control, changes=True) as client:
        [answer] = client.ask(Request(what=What.RELOAD), PATIENCE)
    done = from_document(Reloaded, answer.document)
    for problem in done.problems:
        click.echo(f"chainsocks: {printable(problem)}", err=True)
    if done.problems:
        click.echo("chainsocks: not reloaded: the server goes on with the configuration that it had", err=True)
        return WRONG
    for warning in done.warnings:
        click.echo(f"warning: {printable(warning)}", err=True)
    click.echo(f"reloaded: new sessions use {printable(done.source)}")
    return 0
