"""What each command does; `chainsocks.cli` has their options.

A module of this package is loaded when its command runs: each needs other libraries, which take long to load.
"""

import gc
import sys
from importlib import import_module
from keyword import iskeyword
from types import ModuleType
from typing import Any

__all__ = ["load_command", "load_values"]


def load_command(command: str) -> Any:
    """Return the function of a command: that of its name, in the module of its name.

    A name that is a keyword of Python has ``_`` behind it there.
    """
    name = command.replace("-", "_")
    if iskeyword(name):
        name += "_"
    return getattr(_load(f"{__name__}.{name}"), name)


def load_values(what: str) -> Any:
    """Return the function that lists what a shell completes, such as ``"chains"``."""
    return _load("chainsocks.tools.completion").VALUES[what]


def _load(name: str) -> ModuleType:
    """Load a module without searching what is loaded for garbage, then or later: modules stay.

    The searches would take 15 % of the CPU time of a server's start.
    """
    if name in sys.modules or not gc.isenabled():
        return import_module(name)
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()
