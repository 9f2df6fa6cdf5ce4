"""A control socket that answers in a thread, so that a command can ask it."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from anyio.from_thread import start_blocking_portal

from chainsocks.control.place import open_control_socket
from chainsocks.server.control import serve_control_socket
from tests.control.fleets import FakeFleet

__all__ = ["answering", "short_folder"]


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room in the path of a unix socket."""
    with tempfile.TemporaryDirectory(prefix="chainsocks-") as name:
        yield Path(name)


@contextmanager
def answering(fleet: FakeFleet) -> Iterator[Path]:
    """Answer for `fleet` at the path of a control socket, until the block ends or the fleet is drained."""

    async def serve(path: Path, ended: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        with open_control_socket(str(path)) as sock:
            assert sock
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_control_socket, sock, fleet)
                task_status.started()
                await ended.wait()
                nursery.cancel_scope.cancel()

    with short_folder() as folder, start_blocking_portal("trio") as portal:
        path, ended = folder / "control", portal.call(trio.Event)
        task, _ = portal.start_task(functools.partial(serve, path, ended))
        try:
            yield path
        finally:
            portal.call(ended.set)
            task.result()
