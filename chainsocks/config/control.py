"""``[control]``: where a running server can be asked and told things."""

from __future__ import annotations

from dataclasses import dataclass

from chainsocks.config.suggest import describe

__all__ = ["LONGEST_PATH", "OFF", "Control", "parse_control_socket"]

OFF = "off"

LONGEST_PATH = 100
"""Bytes. A unix socket may have 107 (unix(7)), and a few are for the name under which it is made."""


@dataclass(frozen=True, slots=True)
class Control:
    """``[control]``."""

    socket: str | None = None
    """The path of the control socket, or `OFF` for none; None for the default place (`chainsocks.control.place`)."""


def parse_control_socket(value: str) -> str:
    """Read the path of the control socket, or "off".

    Raises:
        ValueError: it is neither.
    """
    if value == OFF:
        return value
    path = value.removeprefix("unix:")
    if not path.startswith("/"):
        raise ValueError(f'found {describe(value)}, expected "off", or a path that starts with /')
    if len(path.encode()) > LONGEST_PATH:
        raise ValueError(f"the path has at most {LONGEST_PATH} bytes, this one has more")
    return path
