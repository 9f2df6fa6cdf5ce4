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

    A server at a default place may be another one than is meant, if that place is not the first, or if the server uses
    another file than `path`. A command that `changes` the server is refused then, and the server has to be named. Other
    commands say on standard error which one it is.

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
    here, there = (printable(str(each)) for each in (places[0], client.path))
    problem = ""
    if client.path != places[0]:
        problem = f"no server answers at {here}"
    elif path and place is None and not _uses(source := client.status().source, path):
        used = f"uses {printable(source)}" if source else "has no configuration file"
        problem = f"the server at {there} {used}; [control] socket in {printable(str(path))} can name another place"
    if problem and changes:
        client.close()
        raise NotRunningError(f"{problem}; to change the one at {there}, add --control {there}")
    if problem:
        click.echo(f"chainsocks: {problem}; this is the one at {there}", err=True)
    return client


def _uses(source: str, path: Path) -> bool:
    return bool(source) and Path(source).resolve() == path.resolve()


def as_text(answers: Iterable[Answer]) -> str:
    """Return an answer as JSON text, its parts as one."""
    whole: dict[str, Any] = {}
    for answer in answers:
        for key, value in answer.document.items():
            whole[key] = whole[key] + value if isinstance(value, list) and key in whole else value
    return json.dumps(whole)
