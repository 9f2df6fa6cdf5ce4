"""The metrics of all workers as one: what each has counted, and what those counted that have ended since.

1. Counters never decrease while this process lives. What a worker had counted when it last answered stays in the sums
   when it has ended, or does not answer for a while.
2. Workers are numbered from 1, in the order of their starts, so that their labels are few however often they are
   replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import add

from chainsocks.observe.metrics import Buckets, Merge, Metric, MetricKind, Sample

__all__ = ["MOST_MISSING", "Merger", "WorkerSamples"]

MOST_MISSING = 64
"""Workers without an answer whose counters are kept apart. Of more than that, the oldest will not answer again."""

Key = tuple[Metric, tuple[str, ...]]
Value = float | Buckets


@dataclass(frozen=True, slots=True)
class WorkerSamples:
    """What one worker has answered."""

    number: int
    """Unique among all workers that the server has had."""
    samples: tuple[Sample, ...]


class Merger:
    """Merges what workers answer, time after time."""

    def __init__(self) -> None:
        self._last: dict[int, dict[Key, Value]] = {}
        """What each worker had counted when it last answered."""
        self._gone: dict[Key, Value] = {}
        """What those had counted together that have ended."""

    def merge(self, workers: Sequence[WorkerSamples]) -> list[Sample]:
        """Return the samples of all workers, each with all its labels."""
        missing = sorted(self._last.keys() - {worker.number for worker in workers})
        for number in missing[:-MOST_MISSING]:
            _add(self._gone, self._last.pop(number))
        merged: dict[Key, Value] = dict(self._gone)
        for number in missing[-MOST_MISSING:]:
            _add(merged, self._last[number])
        for index, worker in enumerate(sorted(workers, key=lambda each: each.number), 1):
            counted = self._last.setdefault(worker.number, {})
            for metric, labels, value in worker.samples:
                if metric.merge is Merge.EACH:
                    merged[metric, (*labels, str(index))] = value
                    continue
                key = metric, labels
                if metric.kind is not MetricKind.GAUGE:
                    counted[key] = value
                before = merged.get(key)
                merged[key] = value if before is None else _joined(metric.merge, before, value)
        return [Sample(metric, labels, value) for (metric, labels), value in merged.items()]


def _add(sums: dict[Key, Value], counted: Mapping[Key, Value]) -> None:
    for key, value in counted.items():
        before = sums.get(key)
        sums[key] = value if before is None else _joined(Merge.SUM, before, value)


def _joined(merge: Merge, one: Value, other: Value) -> Value:
    if isinstance(one, Buckets) and isinstance(other, Buckets):
        return Buckets(tuple(map(add, one.counts, other.counts)), one.sum + other.sum)
    if isinstance(one, Buckets) or isinstance(other, Buckets):
        raise TypeError("a number and a histogram have the same name")
    if merge is Merge.SUM:
        return one + other
    return max(one, other) if merge is Merge.MAX else min(one, other)
