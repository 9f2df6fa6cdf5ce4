"""The two text formats of metrics; the reference for both is `promtool`, where it is installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from chainsocks.observe.counters import BOUNDS
from chainsocks.observe.metrics import DIAL_SECONDS, METRICS, SESSIONS, Buckets, MetricKind, Sample
from chainsocks.web.exposition import write_metrics

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
WHOLE = [
    Sample(
        metric,
        tuple(f'{label} "x"\n' for label in metric.all_labels),
        Buckets((1,) * (len(BOUNDS) + 1), 7.5) if metric.kind is MetricKind.HISTOGRAM else 3,
    )
    for metric in METRICS.values()
]


def test_every_metric_is_there_from_the_start() -> None:
    text, content_type = write_metrics([], "")
    assert content_type.startswith("text/plain")
    for name in METRICS:
        assert f"# HELP {name} " in text.decode()


def test_buckets_are_cumulative_and_the_last_has_all() -> None:
    text = write_metrics([Sample(DIAL_SECONDS, ("x",), Buckets((1,) * (len(BOUNDS) + 1), 7.5))], "")[0].decode()
    assert f'chainsocks_dial_seconds_bucket{{chain="x",le="{BOUNDS[0]}"}} 1.0' in text
    assert f'chainsocks_dial_seconds_bucket{{chain="x",le="+Inf"}} {len(BOUNDS) + 1}.0' in text
    assert f'chainsocks_dial_seconds_count{{chain="x"}} {len(BOUNDS) + 1}.0' in text
    assert 'chainsocks_dial_seconds_sum{chain="x"} 7.5' in text


def test_openmetrics_is_written_where_it_is_asked_for() -> None:
    sample = Sample(SESSIONS, ("CONNECT", "x", "finished", "00"), 3)
    text, content_type = write_metrics([sample], OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert b'chainsocks_sessions_total{chain="x",command="CONNECT",outcome="finished",reply="00"} 3.0' in text


def test_a_name_cannot_forge_a_line() -> None:
    sample = Sample(SESSIONS, ("CONNECT", 'x"} 1\nforged 2', "finished", "00"), 3)
    for accept in ("", OPEN_METRICS):
        assert b"\nforged" not in write_metrics([sample], accept)[0]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
def test_promtool_is_content() -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=write_metrics(WHOLE, "")[0], capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
