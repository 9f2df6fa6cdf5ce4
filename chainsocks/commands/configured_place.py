"""Where a configuration file puts the control socket. Reading it takes libraries that the other commands do without."""

from __future__ import annotations

from pathlib import Path

from chainsocks.config.control import OFF
from chainsocks.config.load import read_file
from chainsocks.errors import ConfigError, Problem

__all__ = ["configured_place"]


def configured_place(path: Path) -> Path | None:
    """Return the path of the control socket that a file names; None for the default place.

    Raises:
        ConfigError: the file cannot be read, has problems, or says that there is no socket.
    """
    setting = read_file(path, lint=True).config.control.socket
    if setting == OFF:
        raise ConfigError([Problem("control.socket", "it is off: the server of this file cannot be asked")], str(path))
    return Path(setting) if setting else None
