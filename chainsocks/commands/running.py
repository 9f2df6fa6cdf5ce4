"""The running server that a command is about."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from chainsocks.commands import load_command
from chainsocks.control.client import ControlClient, NotRunningError
from chainsocks.control.place import default_places
from chainsocks.control.wire import Answer
from chainsocks.protocol.address import printable

__all__ = ["as_text", "ask_server"]


def ask_server(path: Path | None, control: Path | None, *, changes: bool = False) -> ControlClient:
    """Connect to the control socket at `control`, or where the file at `path` says, or at a default place.

    A command that `changes` the server gets that of the first default place only: one at another place may be another
    server than the one that is meant, and so has to be named. Other commands say on standard error which one it is.

    Raises:
        UsageError: both are given.
        ConfigError: the file has problems, or says that there is no socket.
        NotRunningError: no server is there, or one that has to be named.
        ControlError: this user may not ask it.
    """
    if path and control:
        raise click.UsageError("the server is named twice: with --config and with --control")
    place = load_command("configured_place")(path) if path else control
    places = [place] if place else default_places()
    client = ControlClient(places)
    if client.path != places[0]:
        here, there = (printable(str(each)) for each in (places[0], client.path))
        if changes:
            client.close()
            raise NotRunningError(f"no server answers at {here}; to change the one at {there}, add --control {there}")
        click.echo(f"chainsocks: no server answers at {here}; this is the one at {there}", err=True)
    return client


def as_text(answers: Iterable[Answer]) -> str:
    """Return an answer as JSON text, its parts as one."""
    whole: dict[str, Any] = {}
    for answer in answers:
        for key, value in answer.document.items():
            whole[key] = whole[key] + value if isinstance(value, list) and key in whole else value
    return json.dumps(whole)
