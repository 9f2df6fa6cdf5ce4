"""Merged metrics in the formats that monitoring systems read: Prometheus' own, and OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from chainsocks.observe.counters import BOUNDS
from chainsocks.observe.metrics import METRICS, Buckets, MetricKind, Sample
from chainsocks.observe.metrics import Metric as OurMetric

__all__ = ["Exposition", "write_metrics"]

_BOUNDS = [*map(repr, BOUNDS), "+Inf"]

Exposition = tuple[bytes, str]
"""A text, and its content type."""


def write_metrics(samples: Sequence[Sample], accept: str) -> Exposition:
    """Write samples in the format that an Accept header prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Samples(samples))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Samples(Collector):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, also those without samples: a query finds their names from the start."""
        by_metric: dict[OurMetric, list[Sample]] = {metric: [] for metric in METRICS.values()}
        for sample in self._samples:
            by_metric[sample.metric].append(sample)
        for metric, samples in by_metric.items():
            yield _family(metric, samples)

    def describe(self) -> list[Metric]:
        """Return nothing: names are not checked against other collectors."""
        return []


def _family(metric: OurMetric, samples: Sequence[Sample]) -> Metric:
    labels = list(metric.all_labels)
    match metric.kind:
        case MetricKind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                counter.add_metric(sample.labels, _number(sample))
            return counter
        case MetricKind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                gauge.add_metric(sample.labels, _number(sample))
            return gauge
        case MetricKind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                if isinstance(sample.value, Buckets):
                    histogram.add_metric(sample.labels, _cumulative(sample.value), sample.value.sum)
            return histogram


def _number(sample: Sample) -> float:
    if isinstance(sample.value, Buckets):
        raise TypeError(f"{sample.metric.name} is no histogram")
    return sample.value


def _cumulative(value: Buckets) -> list[tuple[str, float]]:
    total = 0
    found = []
    for bound, count in zip(_BOUNDS, value.counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
