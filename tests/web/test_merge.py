"""The metrics of several workers as one."""

from __future__ import annotations

from chainsocks.observe.counters import BOUNDS
from chainsocks.observe.metrics import BYTES, DIAL_SECONDS, DRAINING, HOP_UP, LOOP_LAG, PLACES, Buckets, Metric, Sample
from chainsocks.web.merge import MOST_MISSING, Merger, WorkerSamples

UP = ("up", "default")
Value = float | Buckets


def worker(number: int, *samples: tuple[Metric, tuple[str, ...], Value]) -> WorkerSamples:
    return WorkerSamples(number, tuple(Sample(*sample) for sample in samples))


def merged(merger: Merger, *workers: WorkerSamples) -> dict[tuple[Metric, tuple[str, ...]], Value]:
    return {(sample.metric, sample.labels): sample.value for sample in merger.merge(workers)}


def test_each_metric_is_merged_in_its_way() -> None:
    found = merged(
        Merger(),
        worker(7, (BYTES, UP, 1), (PLACES, (), 10), (HOP_UP, ("paris",), 1), (DRAINING, (), 1), (LOOP_LAG, (), 0.5)),
        worker(4, (BYTES, UP, 2), (PLACES, (), 20), (HOP_UP, ("paris",), 0), (DRAINING, (), 0), (LOOP_LAG, (), 0.25)),
    )
    assert found == {
        (BYTES, UP): 3,
        (PLACES, ()): 30,
        (HOP_UP, ("paris",)): 0,
        (DRAINING, ()): 1,
        (LOOP_LAG, ("1",)): 0.25,
        (LOOP_LAG, ("2",)): 0.5,
    }


def test_histograms_are_added_bucket_by_bucket() -> None:
    ones, twos = (Buckets((count,) * (len(BOUNDS) + 1), count / 2) for count in (1, 2))
    found = merged(Merger(), worker(1, (DIAL_SECONDS, ("x",), ones)), worker(2, (DIAL_SECONDS, ("x",), twos)))
    assert found == {(DIAL_SECONDS, ("x",)): Buckets((3,) * (len(BOUNDS) + 1), 1.5)}


def test_what_a_worker_had_counted_outlives_it_and_what_it_was_does_not() -> None:
    merger = Merger()
    first = merged(merger, worker(1, (BYTES, UP, 5), (PLACES, (), 10)), worker(2, (BYTES, UP, 7), (PLACES, (), 10)))
    assert (first[BYTES, UP], first[PLACES, ()]) == (12, 20)
    for _ in range(3):
        later = merged(merger, worker(2, (BYTES, UP, 8), (PLACES, (), 10)), worker(3, (PLACES, (), 10)))
        assert (later[BYTES, UP], later[PLACES, ()]) == (13, 20)
    last = merged(merger, worker(3, (BYTES, UP, 1)))
    assert last == {(BYTES, UP): 14}


def test_a_worker_that_does_not_answer_for_a_while_is_not_counted_twice() -> None:
    merger, last = Merger(), 0
    for one in (5, None, None, 6, None, 6):
        living = [] if one is None else [worker(1, (BYTES, UP, one))]
        found = merged(merger, *living, worker(2, (BYTES, UP, 1)))
        last = one or last
        assert found[BYTES, UP] == last + 1


def test_what_many_workers_had_counted_is_kept() -> None:
    merger = Merger()
    for number in range(3 * MOST_MISSING):
        assert merged(merger, worker(number, (BYTES, UP, 1)))[BYTES, UP] == number + 1


def test_a_thousand_replacements_leave_two_labels() -> None:
    merger = Merger()
    labels = set()
    for number in range(1000):
        found = merged(merger, worker(number, (LOOP_LAG, (), 0)), worker(number + 1, (LOOP_LAG, (), 0)))
        labels |= {label for _, (label,) in found}
    assert labels == {"1", "2"}
