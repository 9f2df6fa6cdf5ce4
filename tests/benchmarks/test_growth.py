from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from benchmarks import growth as module
from benchmarks.growth import measure_growth
from chainsocks.tools.bench.echo import Echo
from chainsocks.tools.bench.run import Subject
from chainsocks.tools.bench.way import Way


class Server:
    """A server that takes 100 bytes, and 10 more for each open session."""

    def __init__(self) -> None:
        self.open = self.most = 0

    @contextmanager
    def hold(self, way: object, target: object, count: int) -> Iterator[int]:
        self.open += count
        self.most = max(self.most, self.open)
        yield count
        self.open -= count

    def memory(self, pids: object) -> int:
        assert pids == (7,)
        return 100 + 10 * self.open

    def echo(self, *_: object, seconds: float) -> Echo:
        return Echo((seconds + self.open,))

    def wait_until_quiet(self) -> None:
        assert not self.open


@pytest.mark.parametrize(("count", "steps"), [(90, [10, 30, 90]), (2, [1, 2, 3])])
def test_memory_and_echo_are_measured_at_each_step(
    monkeypatch: pytest.MonkeyPatch, count: int, steps: list[int]
) -> None:
    server = Server()
    monkeypatch.setattr(module, "open_idle", server.hold)
    monkeypatch.setattr(module, "resident_bytes", server.memory)
    monkeypatch.setattr(module, "measure_echo", server.echo)
    subject, target = Subject(Way("it"), (7,)), cast("Any", server)
    sample = {figure.title: value for figure, value in measure_growth(subject, target, count=count, seconds=2).items()}
    expected = {"echo, p99": 2.0}
    for step in steps:
        expected |= {f"{step} idle sessions": 10.0, f"echo, p99 beside {step} idle": 2.0 + step}
    assert sample == expected
    assert server.open == 0
