"""`chainsocks check --print`: print what a file amounts to, as a file."""

from __future__ import annotations

from pathlib import Path

import click

from chainsocks.config.effective import effective_parts
from chainsocks.config.load import Loaded
from chainsocks.config.secrets import Missing, Secrets
from chainsocks.config.written import Part, write_parts

__all__ = ["print_config"]

TITLE = "The whole configuration, with all defaults. Secrets are masked."


def print_config(loaded: Loaded, path: Path) -> None:
    """Print the file at `path` with all defaults, and masks for secrets; warnings go to standard error."""
    parts = effective_parts(loaded.data, Secrets(path.parent, Missing.WARNING))
    click.echo(write_parts([Part(comments=(TITLE,)), *parts]), nl=False)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
