"""The metrics: names that monitoring systems accept, and samples that survive the way to the web server."""

from __future__ import annotations

import json
import re

import pytest

from chainsocks.config.chains import DIRECT
from chainsocks.datagrams import Drop
from chainsocks.errors import Cause, Step
from chainsocks.observe.counters import BOUNDS, Counters
from chainsocks.observe.metrics import (
    BYTES,
    METRICS,
    SESSIONS,
    SESSIONS_OPEN,
    Buckets,
    Live,
    Merge,
    MetricKind,
    Sample,
    document,
    read_document,
    samples_of,
)
from chainsocks.observe.outcomes import Failure, OutcomeKind
from chainsocks.observe.record import Record, Traffic
from chainsocks.observe.tally import Tally
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command, Request, Version

REQUEST = Request(Version.SOCKS5, Command.CONNECT, Address("192.0.2.80", 80))


def record(up: int, down: int) -> Record:
    return Record("192.0.2.1:1", request=REQUEST, chain=DIRECT, reply=0, up=up, down=down)


@pytest.fixture
async def counters() -> Counters:
    counters = Counters()
    ended = record(10, 20)
    ended.kind = OutcomeKind.FINISHED
    counters.session_ended(ended)
    counters.dials["direct"].add(0.02)
    counters.steps["paris", Step.CONNECT].add(7)
    counters.failures[Failure("paris", Step.CONNECT, Cause.TIMED_OUT)] += 1
    tally = Tally(Traffic())
    with counters.association(tally):
        tally.drops[Drop.STRANGER] += 1
    return counters


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_names_are_as_monitoring_systems_want_them(metric: object) -> None:
    assert isinstance(metric, type(SESSIONS))
    assert re.fullmatch(r"chainsocks_[a-z][a-z_]+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is MetricKind.COUNTER)
    assert metric.name.endswith("_seconds") or metric.kind is not MetricKind.HISTOGRAM
    assert metric.help.endswith(".")
    assert metric.all_labels[len(metric.labels) :] == (("worker",) if metric.merge is Merge.EACH else ())


async def test_samples_come_through_json_unchanged(counters: Counters) -> None:
    samples = [*samples_of(counters, Live())]
    assert {sample.metric.kind for sample in samples} == {MetricKind.COUNTER, MetricKind.HISTOGRAM}
    assert [*read_document(json.loads(json.dumps(document(samples))))] == samples


async def test_sessions_that_run_add_their_bytes(counters: Counters) -> None:
    live = Live()
    live.add(record(1, 2))
    live.add(record(0, 0))
    live.add(Record("192.0.2.1:2"))
    found = {(sample.metric, sample.labels): sample.value for sample in samples_of(counters, live)}
    assert found[BYTES, ("up", "direct")] == 11
    assert found[BYTES, ("down", "direct")] == 22
    assert found[SESSIONS_OPEN, ("CONNECT", "direct")] == 2
    assert found[SESSIONS_OPEN, ("", "")] == 1
    assert found[SESSIONS, ("CONNECT", "direct", "finished", "00")] == 1


def test_metrics_of_another_version_are_left_out() -> None:
    row = {"labels": {"direction": "up", "chain": "direct", "new": "x"}, "value": 5}
    known = {"chainsocks_bytes_total": [row], "chainsocks_new_total": [row]}
    assert [*read_document(known)] == [Sample(BYTES, ("up", "direct"), 5)]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"labels": {}, "counts": [], "sum": 0}, id="no label"),
        pytest.param({"labels": {"chain": "x"}, "counts": [0] * len(BOUNDS), "sum": 0}, id="a bucket is missing"),
        pytest.param({"labels": {"chain": "x"}, "counts": 5, "sum": 0}, id="no list"),
    ],
)
def test_what_is_no_such_json_is_an_error(row: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        [*read_document({"chainsocks_dial_seconds": [row]})]


def test_a_histogram_keeps_its_buckets() -> None:
    row = {"labels": {"chain": "x"}, "counts": [0] * len(BOUNDS) + [2], "sum": 99}
    [sample] = read_document({"chainsocks_dial_seconds": [row]})
    assert sample.value == Buckets((*[0] * len(BOUNDS), 2), 99)
