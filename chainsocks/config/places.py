"""Where a configuration file is searched."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["config_places", "find_config"]


def find_config() -> Path | None:
    """Return the first configuration file that exists in the folders that are searched, or None.

    A link that leads nowhere counts: reading it fails, instead of a start without the hops of the file that was meant.
    """
    for place in config_places():
        with suppress(OSError):  # a folder without permission to search it
            if place.is_file() or place.is_symlink():
                return place
    return None


def config_places() -> list[Path]:
    """Return where a configuration file is searched, in order."""
    folders = [Path()]
    with suppress(RuntimeError):  # a user without a home
        folders.append(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "chainsocks")
    return [folder / "chainsocks.toml" for folder in (*folders, Path("/etc/chainsocks"))]
