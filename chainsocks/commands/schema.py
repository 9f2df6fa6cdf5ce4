"""`chainsocks schema`: print the JSON Schema of a configuration file."""

from __future__ import annotations

import json

import click

from chainsocks.tools.schema import schema_of_the_file

__all__ = ["schema"]


def schema() -> None:
    """Print the schema."""
    click.echo(json.dumps(schema_of_the_file(), indent=2, ensure_ascii=False))
