"""`chainsocks completion`: print the script by which a shell completes our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

VARIABLE = "_CHAINSOCKS_COMPLETE"
"""The environment variable by which the script asks; click has it from the name of the program."""


def completion(*, shell: str) -> None:
    """Print the script for a shell that click knows."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    program = click.get_current_context().find_root()
    click.echo(kind(program.command, {}, program.info_name or "chainsocks", VARIABLE).source())
