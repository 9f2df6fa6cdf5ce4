"""``[log]``: how the log is written. The command line needs this before any other setting."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LogFormat", "LogSettings", "Privacy"]


class LogFormat(StrEnum):
    """How the lines of the log are written."""

    PLAIN = "plain"
    JSON = "json"
    """One JSON object per line."""


class Privacy(StrEnum):
    """Whether the log leaves out what would tell which client went where."""

    NONE = "none"
    FULL = "full"
    """No line names a client, a user or a destination."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """``[log]``."""

    format: LogFormat = LogFormat.PLAIN
    privacy: Privacy = Privacy.NONE
