"""Reloading: a running server takes over a new configuration as a whole, or not at all.

`Steering` is what can be asked of a server as a whole, with one process and with several. Signals and the control
socket use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from chainsocks.errors import ConfigError, Problem

__all__ = ["Outcome", "Steering"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reload has led to. With problems, the server goes on with the configuration that it had."""

    source: str
    """The name of the file that was read; empty without one."""
    problems: tuple[Problem, ...] = ()
    """As `chainsocks check` reports them, and the keys that cannot change while the server runs."""
    warnings: tuple[str, ...] = ()

    @property
    def is_applied(self) -> bool:
        """Whether new sessions use the new configuration."""
        return not self.problems

    def __str__(self) -> str:
        """Return a line for each problem, as `chainsocks check` prints them; empty without problems."""
        return str(ConfigError(self.problems, self.source)) if self.problems else ""


class Steering(Protocol):
    """What can be asked of a server as a whole."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to stop, or stops; it may still accept connections."""

    async def reload(self) -> Outcome:
        """Read the configuration anew and apply it. Several requests at a time are done one after the other."""

    def drain(self, delay: float) -> None:
        """Stop after `delay` seconds of accepting, as a first SIGTERM does; return at once."""
