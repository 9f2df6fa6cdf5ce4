"""A server whose configuration file is written anew while it runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.servers import Chainsocks

__all__ = ["Reloadable", "reloadable"]


class Reloadable(Chainsocks):
    """A server, and its configuration file."""

    def __init__(self, config: Path, text: str, *options: str) -> None:
        self.config = config
        self.reloads = 0
        config.write_text(text)
        super().__init__(config, {}, *options)

    def reload(self, text: str | None = None) -> None:
        """Have it read its file again, with this text in it if there is one; wait until it has."""
        if text is not None:
            self.config.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        self.reloads += 1
        self.wait_for(" (reloaded|not reloaded): ", times=self.reloads)


@contextmanager
def reloadable(folder: Path, text: str, *options: str) -> Iterator[Reloadable]:
    server = Reloadable(folder / "c.toml", text, *options)
    try:
        yield server
    finally:
        status = server.stop()
        print(server.said)  # noqa: T201  (pytest shows it with the failure)
    assert (status, server.lines[-1].endswith("INFO stopped")) == (0, True)
    server.check()
