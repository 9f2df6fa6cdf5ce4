"""Limit the lines of the log that repeat a warning: a few are written, and the others are counted.

Of each kind of line, the first `FIRST` are written. The others are left out and counted until `INTERVAL` seconds after
the first; then one line says how many they were, and the kind begins anew. `KINDS` kinds are counted at a time; further
ones count as one.

What the program knows of a line makes its kind, such as its logger and its template; its text never does.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["FIRST", "INTERVAL", "KINDS", "Repeats", "Summary"]

FIRST = 10
"""Lines of a kind that are written."""

INTERVAL = 60.0
"""Seconds from the first of these to the line that says how many more there were."""

KINDS = 256
"""Kinds that are counted at a time."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said of the lines of a kind that were left out."""

    level: int
    name: str
    """Of the logger."""
    more: int
    seconds: float
    like: str
    """The last line of the kind that was written; empty where kinds were not told apart."""

    def __str__(self) -> str:
        what = f"like this in {self.seconds:.0f} s: {self.like}" if self.like else f"of others in {self.seconds:.0f} s"
        return f"and {self.more} more {what}"


@dataclass(slots=True)
class _Kind:
    """A kind of lines since the first one, in seconds on the monotonic clock."""

    since: float
    level: int
    name: str
    written: int = 0
    more: int = 0
    like: str = ""


class Repeats:
    """The kinds of lines that have come lately. The caller sees to it that one thread at a time calls this."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Kind] = {}

    def count(self, key: Hashable, level: int, name: str, now: float) -> int:
        """Count a line of the kind `key`; return how many have been left out with it, or 0 if it is to be written."""
        kind = self._kinds.get(key)
        if kind is None or _is_over(kind, now):
            if kind is None and len(self._kinds) >= KINDS:
                self._kinds = {key: kind for key, kind in self._kinds.items() if not _is_over(kind, now)}
                key = key if len(self._kinds) < KINDS else None
                kind = self._kinds.get(key)
            if kind is None or _is_over(kind, now):
                kind = self._kinds[key] = _Kind(now, level, name)
        if kind.written < FIRST:
            kind.written += 1
        else:
            kind.more += 1
        return kind.more

    def note(self, key: Hashable, text: str) -> None:
        """Keep the text of a line that was written, as the example of its kind."""
        if kind := self._kinds.get(key):
            kind.like = text

    @property
    def due(self) -> float:
        """When a summary is due; ``math.inf`` if no line was left out."""
        return min((kind.since for kind in self._kinds.values() if kind.more), default=math.inf) + INTERVAL

    def take(self, now: float, *, early: bool = False) -> list[Summary]:
        """Return the summaries that are due, or `early` all of them; their kinds begin anew."""
        keys = [key for key, kind in self._kinds.items() if kind.more and (early or now - kind.since >= INTERVAL)]
        kinds = [self._kinds.pop(key) for key in keys]
        return [Summary(kind.level, kind.name, kind.more, now - kind.since, kind.like) for kind in kinds]


def _is_over(kind: _Kind, now: float) -> bool:
    """Whether the interval of a kind of which no line was left out has passed."""
    return not kind.more and now - kind.since >= INTERVAL
