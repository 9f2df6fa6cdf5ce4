"""`chainsocks shell`: the user's shell, as `chainsocks exec` runs it, with a mark in its prompt."""

from __future__ import annotations

import os
from pathlib import Path

from chainsocks.commands.exec import Way, execute

__all__ = ["shell"]

MARK = "(chain) "


def shell(
    *,
    path: Path | None,
    chain: str | None,
    hops: tuple[str, ...],
    shared: tuple[str, ...],
    published: tuple[str, ...],
    verbose: bool,
    quiet: bool,
) -> None:
    """Become the user's shell; otherwise as `chainsocks.commands.exec.exec`.

    Raises:
        UsageError, NamespaceError, OSError: as that does.
    """
    way = Way(path, chain, hops, shared, published, verbose, quiet)
    execute(way, _marked(os.environ.get("SHELL") or "/bin/sh"))


def _marked(path: str) -> list[str]:
    """Return the command of an interactive shell, and change the environment so that its prompt has the mark."""
    match Path(path).name:
        case "bash":  # its start files set PS1 anew; this runs before each prompt
            before = os.environ.get("PROMPT_COMMAND", "")
            own = f'PS1="{MARK}${{PS1#"{MARK}"}}"'
            os.environ["PROMPT_COMMAND"] = f"{before};{own}" if before else own
        case "fish":
            prompt = f"functions -c fish_prompt _chainsocks; function fish_prompt; echo -n '{MARK}'; _chainsocks; end"
            return [path, "--init-command", prompt]
        case _:
            os.environ["PS1"] = f"{MARK}{os.environ.get('PS1', '$ ')}"
    return [path]
