"""`chainsocks check --explain`: how one request would be routed."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import TextIO

import click

from chainsocks.config.models import Config
from chainsocks.tools.explain import explain_here, read_question

__all__ = ["explain"]

NARROWEST = 20
"""Columns; on a narrower terminal, lines are as long as on one of this width."""


def explain(
    config: Config, target: str, *, host: str | None, user: str | None, what: str, socks: str, as_json: bool
) -> int:
    """Print the explanation, and return the exit status: 0 if the request is allowed, otherwise 1.

    Raises:
        ConfigError: the question is not valid.
    """
    request, caller = read_question(config, target, host, user, what, socks)
    explanation = explain_here(config, request, caller)
    click.echo(explanation.json() if as_json else "\n".join(_fit(explanation.lines(), sys.stdout)))
    return 0 if explanation.allowed else 1


def _fit(lines: Iterable[str], output: TextIO | None) -> Iterator[str]:
    """Wrap lines between words if `output` is a terminal, as wide as that is; no address is broken."""
    if output is None or not output.isatty():
        yield from lines
        return
    width = max(shutil.get_terminal_size().columns, NARROWEST)
    wrapper = textwrap.TextWrapper(width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    yield from map(wrapper.fill, lines)
