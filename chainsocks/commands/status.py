"""`chainsocks status`: how the running server is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from chainsocks.commands.running import as_text, ask_server
from chainsocks.control.client import NotRunningError
from chainsocks.control.messages import Request, Status, What
from chainsocks.control.wire import status_in
from chainsocks.protocol.address import printable
from chainsocks.tools.running import show_bytes, show_duration

__all__ = ["status"]

WELL, DEGRADED, NOT_RUNNING = 0, 1, 3
"""Exit statuses, as those of LSB init scripts: 3 stands for a program that is not running there, too."""


def status(*, path: Path | None, control: Path | None, as_json: bool) -> int:
    """Print the status, and return the exit status."""
    try:
        client = ask_server(path, control)
    except NotRunningError as error:
        if as_json:
            click.echo('{"state": "not running"}')
        click.echo(f"chainsocks: {error}", err=True)
        return NOT_RUNNING
    with client:
        answers = [*client.ask(Request(what=What.STATUS))]
    found = status_in(answers)
    if as_json:
        click.echo(as_text(answers))
    else:
        for line in _lines(found):
            click.echo(line)
    return DEGRADED if found.trouble else WELL


def _lines(found: Status) -> Iterator[str]:
    yield f"{found.state} for {show_duration(found.uptime)}, pid {found.pid}, chainsocks {found.program}"
    yield f"sessions: {found.sessions} of {found.max_sessions}; connections that wait for one: {found.waiting}"
    yield (
        f"sessions ended since its start: {found.ended}; failed: {found.failed}; "
        f"{show_bytes(found.up)} up, {show_bytes(found.down)} down"
    )
    yield f"hops: {found.hops_well} of {found.hops} well"
    yield f"listening on {', '.join(map(printable, found.listen)) or 'nothing'}"
    if any(worker.number for worker in found.workers):
        for worker in found.workers:
            load = f"sessions: {worker.sessions} of {worker.max_sessions}" if worker.answers else "does not answer"
            yield f"worker {worker.number}: pid {worker.pid}, {load}"
    for trouble in found.trouble:
        yield f"trouble: {printable(trouble)}"
