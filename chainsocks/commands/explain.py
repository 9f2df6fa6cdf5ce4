"""`chainsocks check --explain`: how one request would be routed."""

from __future__ import annotations

import click

from chainsocks.config.models import Config
from chainsocks.tools.explain import explain_here, read_question

__all__ = ["explain"]


def explain(
    config: Config, target: str, *, host: str | None, user: str | None, what: str, socks: str, as_json: bool
) -> int:
    """Print the explanation, and return the exit status: 0 if the request is allowed, otherwise 1.

    Raises:
        ConfigError: the question is not valid.
    """
    request, caller = read_question(config, target, host, user, what, socks)
    explanation = explain_here(config, request, caller)
    click.echo(explanation.json() if as_json else "\n".join(explanation.lines()))
    return 0 if explanation.allowed else 1
