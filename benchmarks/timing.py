"""What the micro-benchmarks share: run something very often, several times over, and say the least and the median.

The least is what the code costs; how far the median is from it says how noisy the machine is.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Timing", "table"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that `what` took, once for each repeat: the mean of as many runs as a repeat has."""

    what: str
    seconds: Sequence[float]

    @property
    def least(self) -> float:
        """The shortest, in seconds."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The one in the middle, in seconds."""
        return statistics.median(self.seconds)


def table(timings: Iterable[Timing]) -> str:
    """Return a line for each, in microseconds."""
    rows = [("us", "min", "median")]
    rows += [(timing.what, f"{timing.least * 1e6:.2f}", f"{timing.median * 1e6:.2f}") for timing in timings]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(f"{what:{widths[0]}}  {least:>{widths[1]}}  {median:>{widths[2]}}" for what, least, median in rows)
