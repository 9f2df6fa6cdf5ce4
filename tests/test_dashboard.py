"""The dashboard for Grafana: its queries name metrics and labels that exist, and are PromQL."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chainsocks.observe.metrics import METRICS, MetricKind

FILE = Path(__file__).parent.parent / "examples" / "grafana.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
TARGETS = [
    (f"{panel['title']} {target['refId']}", target["expr"], target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
ADDED = {"job", "le"}
"""Labels that monitoring adds, and that of a histogram's buckets."""


def metrics_in(expression: str) -> dict[str, set[str]]:
    """The metrics of a query, each with the labels that select from it."""
    return {
        name: set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected or ""))
        for name, selected in re.findall(r"\b(chainsocks_\w+)(?:\{([^}]*)\})?", expression)
    }


def metric_of(name: str) -> str:
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if base in METRICS and METRICS[base].kind is MetricKind.HISTOGRAM else name


@pytest.mark.parametrize(
    ("expression", "legend"), [target[1:] for target in TARGETS], ids=[each[0] for each in TARGETS]
)
def test_a_query_names_what_exists(expression: str, legend: str) -> None:
    used = metrics_in(expression)
    assert used
    for name, labels in used.items():
        metric = METRICS[metric_of(name)]
        grouped = {label for each in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", each)}
        shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
        assert labels | grouped | shown <= {*metric.all_labels, *ADDED}
        is_counted = metric.kind is not MetricKind.GAUGE
        assert bool(re.search(rf"(rate|increase)\({name}", expression)) is is_counted


def test_every_metric_but_the_times_of_starts_is_shown() -> None:
    shown = {metric_of(name) for _, expression, _ in TARGETS for name in metrics_in(expression)}
    assert METRICS.keys() - shown == {"chainsocks_process_start_time_seconds"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
def test_queries_are_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"query{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, (_, expression, _) in enumerate(TARGETS)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr + checked.stdout
