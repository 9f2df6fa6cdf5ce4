"""What a comparison has measured: samples by figure and name, their medians, and the ratios to ours.

1. A figure is one column of numbers: what is measured, in which unit, and whether more of it is better.
2. Ratios are of medians, and say how many times ours another one is.
3. Who could not be measured is told with the reason, and is in no ratio.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

__all__ = ["Figure", "Results", "Sample"]


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is measured."""

    title: str
    """With its unit."""
    digits: int
    """Behind the point."""
    more_is_better: bool = False


Sample = Mapping[Figure, float]
"""What one measurement gave."""


@dataclass(slots=True)
class Results:
    """The samples of one section; ratios are to the medians of `reference`."""

    reference: str
    samples: dict[Figure, dict[str, list[float]]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    """What is to be said of somebody: why there are no numbers, or what they are not."""
    failed: set[str] = field(default_factory=set)
    """Who started, or tried to, and could not be measured."""

    def add(self, name: str, sample: Sample) -> None:
        """Take what one measurement gave."""
        for figure, value in sample.items():
            self.samples.setdefault(figure, {}).setdefault(name, []).append(value)

    def remark(self, name: str, remark: str) -> None:
        """Take a remark, once."""
        remarks = self.remarks.setdefault(name, [])
        if remark not in remarks:
            remarks.append(remark)

    def fail(self, name: str, why: str) -> None:
        """Take that somebody could not be measured."""
        self.failed.add(name)
        self.remark(name, f"FAILED: {' '.join(why.split())}")

    def median(self, figure: Figure, name: str) -> float | None:
        """Return the sample in the middle, or half way between the two that are; None without any."""
        samples = self.samples.get(figure, {}).get(name)
        return statistics.median(samples) if samples else None

    def ratio(self, figure: Figure, name: str) -> float | None:
        """Return how many times ours theirs is; None where that says nothing."""
        ours, theirs = self.median(figure, self.reference), self.median(figure, name)
        return theirs / ours if ours and theirs is not None else None

    def best(self, figure: Figure, names: Collection[str]) -> str | None:
        """Return who of `names` has the best median; None when none has one."""
        medians = {name: value for name in names if (value := self.median(figure, name)) is not None}
        choose = max if figure.more_is_better else min
        return choose(medians, key=medians.__getitem__) if medians else None
