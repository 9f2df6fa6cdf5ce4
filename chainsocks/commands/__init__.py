"""What each command does; `chainsocks.cli` has their options.

A module of this package is loaded when its command runs: each needs other libraries, which take long to load.
"""

from importlib import import_module
from keyword import iskeyword
from typing import Any

__all__ = ["load_command", "load_values"]


def load_command(command: str) -> Any:
    """Return the function of a command: that of its name, in the module of its name.

    A name that is a keyword of Python has ``_`` behind it there.
    """
    name = command.replace("-", "_")
    if iskeyword(name):
        name += "_"
    return getattr(import_module(f"{__name__}.{name}"), name)


def load_values(what: str) -> Any:
    """Return the function that lists what a shell completes, such as ``"chains"``."""
    return import_module("chainsocks.tools.completion").VALUES[what]
