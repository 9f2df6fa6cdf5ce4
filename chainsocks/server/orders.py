"""The messages between the processes of one server, over their channels (`chainsocks.server.channel`).

A reload has two steps. Each worker prepares it and answers; nothing has changed then. When all have prepared it, all
get the order to change, and otherwise none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config
from chainsocks.server.reload import Outcome
from chainsocks.server.summary import Summary

__all__ = [
    "Changed",
    "DrainPlease",
    "Joined",
    "Order",
    "Prepare",
    "Prepared",
    "ReloadPlease",
    "Reloaded",
    "Settings",
    "Told",
    "WebChanged",
]


class Order(Enum):
    """What the parent tells a worker, without more to say."""

    STOP = auto()
    """As at a first SIGTERM."""
    END_NOW = auto()
    """As at a second one."""
    RETIRE = auto()
    """Close the listeners, and end with the last session: there are to be fewer workers."""
    CHANGE = auto()
    """Change to what was prepared, and answer with `Changed`."""
    ABORT = auto()
    """Forget what was prepared."""
    SHOW = auto()
    """Write the state into the log."""
    TELL = auto()
    """Answer with `Told`."""
    SERVE_CONTROL = auto()
    """Serve the control protocol on the stream that comes with it, which leads to the control process."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Prepare for another configuration. The sockets of the new listeners, which are bound, come with it."""

    config: Config
    """With this worker's share of `max_sessions`."""
    listeners: Sequence[tuple[Listener, int | None]]
    """All listeners, each with the index of the socket that it keeps, or None for the next one of the new sockets."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A worker has prepared the change."""

    problem: str = ""
    """Why it could not; empty if it could."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A worker has changed."""


@dataclass(frozen=True, slots=True)
class Told:
    """The state of a worker, which shows that its event loop moves."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class ReloadPlease:
    """Asks the parent for a reload; the answer is `Reloaded`."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload has led to."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Joined:
    """Tells the control process of a worker, which answers on the stream that comes with it."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Tells the control process what holds for the server from now on."""

    workers: int
    """How many there are to be."""
    grace: float
    drained_at: float = math.inf
    """When the server stops accepting, on the monotonic clock, which all processes share."""


@dataclass(frozen=True, slots=True)
class WebChanged:
    """Tells the control process of another configuration. The sockets of the web server come with it."""

    config: Config


@dataclass(frozen=True, slots=True)
class DrainPlease:
    """Asks the parent to drain the server."""

    delay: float
