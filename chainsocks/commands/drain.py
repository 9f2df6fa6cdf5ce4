"""`chainsocks drain`: stop the running server when its sessions have ended."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path

import click

from chainsocks.commands.running import ask_server
from chainsocks.control.messages import Draining, Request, What
from chainsocks.control.wire import from_document

__all__ = ["drain"]


def drain(*, path: Path | None, control: Path | None, delay: float) -> None:
    """Tell the server to stop, and return when it has ended."""
    with ask_server(path, control, changes=True) as client:
        [answer] = client.ask(Request(what=What.DRAIN, delay=delay))
        told = from_document(Draining, answer.document)
        first = f"new connections for {round(told.delay, 1):g} s more, then " if told.delay else ""
        last = "without a limit" if told.grace is None else f"up to {told.grace:g} s"
        click.echo(f"draining: {first}{last} for the open sessions")
        pidfd = _open_process(told.pid)
        client.wait_for_end()
    if pidfd is not None:
        select.select([pidfd], [], [])
        os.close(pidfd)
    click.echo("the server has ended")


def _open_process(pid: int) -> int | None:
    """Return a descriptor that is readable when a process has ended; None where it cannot be watched."""
    with suppress(OSError, AttributeError):  # as in another container, or without Linux
        return os.pidfd_open(pid)
    return None
