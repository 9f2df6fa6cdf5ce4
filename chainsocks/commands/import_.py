"""`chainsocks import`: print the configuration that a proxychains.conf amounts to."""

from __future__ import annotations

from pathlib import Path

import click

from chainsocks.config.load import parse_config
from chainsocks.config.written import write_parts
from chainsocks.tools.proxychains.convert import convert
from chainsocks.tools.proxychains.parse import parse_proxychains

__all__ = ["import_"]

FAILED = 1


def import_(*, file: Path) -> int:
    """Print the configuration; return 1 if it does not do all that the file says.

    Raises:
        ConfigError: the file cannot be read, or has problems.
    """
    converted = convert(parse_proxychains(file), str(file))
    text = write_parts(converted.parts)
    parse_config(text, str(file))
    click.echo(text, nl=False)
    if converted.is_whole:
        return 0
    click.echo(
        "chainsocks: not all of the file can be imported, as the comments say; all requests are refused", err=True
    )
    return FAILED
