"""The running server that a command is about."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from chainsocks.commands import load_command
from chainsocks.control.client import ControlClient
from chainsocks.control.messages import Answer
from chainsocks.control.place import default_places

__all__ = ["as_text", "ask_server"]


def ask_server(path: Path | None, control: Path | None) -> ControlClient:
    """Connect to the control socket at `control`, or where the file at `path` says, or at the default place.

    Raises:
        UsageError: both are given.
        ConfigError: the file has problems, or says that there is no socket.
        NotRunningError: no server is there.
        ControlError: this user may not ask it.
    """
    if path and control:
        raise click.UsageError("the server is named twice: with --config and with --control")
    place = load_command("configured_place")(path) if path else control
    return ControlClient([place] if place else default_places())


def as_text(answers: Iterable[Answer]) -> str:
    """Return an answer as JSON text, its parts as one."""
    whole: dict[str, Any] = {}
    for answer in answers:
        for key, value in answer.document.items():
            whole[key] = whole[key] + value if isinstance(value, list) and key in whole else value
    return json.dumps(whole)
