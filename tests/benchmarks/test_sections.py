from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import sections
from benchmarks.contestants import Opened
from benchmarks.loops import LOOPS
from benchmarks.peers import OURS, PEERS
from benchmarks.sections import SECTIONS, Effort, Section
from chainsocks.config.load import load_config
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.bulk import Bulk
from chainsocks.tools.bench.counters import Counters, Kind, What
from chainsocks.tools.bench.echo import Echo
from chainsocks.tools.bench.idle import Idle
from chainsocks.tools.bench.sessions import Sessions
from chainsocks.tools.bench.way import Way

GIB = 2**30
BY_NAME = {section.name: section for section in SECTIONS}


class Target:
    pids = (20, 21)

    def wait_until_quiet(self) -> bool:
        return True


class Running:
    address = Address("127.0.0.1", 1)
    pids = (10, 11)

    def __init__(self) -> None:
        self.signals: list[signal.Signals] = []

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)


@pytest.fixture
def opened() -> Opened:
    return Opened(Way("it"), cast("Any", Target()), cast("Any", Running()))


class Remarks(list[str]):
    def __call__(self, remark: str) -> None:
        self.append(remark)


def measured(section: Section, opened: Opened, remarks: Remarks | None = None) -> dict[str, float]:
    sample = section.measure(opened, Effort(seconds=2.0, idle=100), Remarks() if remarks is None else remarks)
    return {figure.title: value for figure, value in sample.items()}


def test_bulk_is_by_time_and_by_cpu(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    def measure(*_: object, streams: int, direction: str, seconds: float, pids: object) -> Bulk:
        assert (direction, seconds, pids) == ("down", 2.0, (10, 11))
        return Bulk(0, 3 * GIB * streams, 2.0, cpu=1.5, load_cpu=1.9 if streams == 1 else 1.7)

    monkeypatch.setattr(sections, "measure_bulk", measure)
    remarks = Remarks()
    assert measured(BY_NAME["bulk"], opened, remarks) == {
        "GiB/s, 1 stream": 1.5,
        "CPU s/GiB, 1 stream": 0.5,
        "GiB/s, 8 streams": 12.0,
        "CPU s/GiB, 8 streams": 0.0625,
    }
    assert remarks == ["with 1 stream(s), the load was what set the pace"]


def test_sessions_are_by_time_and_by_cpu(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    given = Sessions(4000, 2.0, cpu=1.0, load_cpu=1.0)

    def measure(*_: object, concurrency: int, seconds: float, pids: object) -> Sessions:
        assert (concurrency, seconds, pids) == (32, 2.0, (10, 11))
        return given

    monkeypatch.setattr(sections, "measure_sessions", measure)
    remarks = Remarks()
    assert measured(BY_NAME["sessions"], opened, remarks) == {"CPU us/session": 250.0, "sessions/s": 2000.0}
    assert remarks == []
    given = Sessions(4000, 2.0, failed=1, cpu=1.0, load_cpu=1.95)
    measured(BY_NAME["sessions"], opened, remarks)
    assert remarks == ["some sessions failed", "the load was what set the pace"]


def test_workers_are_measured_in_their_place(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    log: list[object] = []

    @contextmanager
    def placed(*where: object) -> Iterator[None]:
        log.append(where)
        yield
        log.append("free")

    def measure(*_: object, **__: object) -> Sessions:
        log.append("measured")
        return Sessions(10, 1.0, cpu=1.0)

    monkeypatch.setattr(sections, "placed", placed)
    monkeypatch.setattr(sections, "measure_sessions", measure)
    measured(BY_NAME["workers"], opened)
    assert log == [(10, (20, 21)), "measured", "free"]


def test_idle_sessions_cost_what_comes_on_top(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    held = 0

    @contextmanager
    def open_idle(_: object, __: object, count: int) -> Iterator[Idle]:
        nonlocal held
        held = count - (count == 100) * 20  # too few descriptors
        yield Idle(held, count)
        held = 0

    monkeypatch.setattr(sections, "open_idle", open_idle)
    monkeypatch.setattr(sections, "resident_bytes", lambda _: 50_000_000 + held * 9 * 1024)
    remarks = Remarks()
    assert measured(BY_NAME["idle"], opened, remarks) == {"KiB/idle session": 9.0}
    assert remarks == ["80 idle sessions only, for want of file descriptors"]


def test_no_more_idle_sessions_are_asked_for_than_there_are_descriptors(
    monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    asked: list[int] = []

    @contextmanager
    def open_idle(_: object, __: object, count: int) -> Iterator[Idle]:
        asked.append(count)
        yield Idle(count, count)

    monkeypatch.setattr(sections, "open_idle", open_idle)
    monkeypatch.setattr(sections, "resident_bytes", lambda _: 0)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, sections.SPARE + 300))
    remarks = Remarks()
    measured(BY_NAME["idle"], replace(opened, descriptors=6), remarks)
    assert asked == [sections.WARM_UP, 50]
    assert remarks == ["50 idle sessions only, for want of file descriptors"]
    measured(BY_NAME["idle"], replace(opened, descriptors=2), remarks)
    assert asked[-1] == 100


def test_echoes_are_in_us(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    monkeypatch.setattr(sections, "measure_echo", lambda *_, seconds: Echo(tuple(n / 1000 for n in range(1, 101))))
    assert list(measured(BY_NAME["echo"], opened).values()) == pytest.approx([50_000, 99_000])


def test_echoes_beside_bulk_are_in_ms_and_the_bulk_is_measured_too(
    monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    counters = Counters.create()
    flows = False

    @contextmanager
    def open_flood(*_: object, streams: int, direction: str) -> Iterator[None]:
        nonlocal flows
        assert (streams, direction) == (8, "down")
        counters.add(Kind.SOURCE, What.SENT, 77 * GIB)  # before anybody looks
        flows = True
        yield
        flows = False

    def measure(*_: object, seconds: float) -> Echo:
        assert flows
        counters.add(Kind.SOURCE, What.SENT, 3 * GIB)
        return Echo(tuple(number / 1000 for number in range(1, 101)))

    clock = iter([100.0, 102.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sections, "open_flood", open_flood)
    monkeypatch.setattr(sections, "measure_echo", measure)
    monkeypatch.setattr(opened.target, "counters", counters, raising=False)
    assert list(measured(BY_NAME["fairness"], opened).values()) == pytest.approx([50, 99, 1.5])
    counters.close()


def test_cancelling_is_a_signal_to_the_server(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    def measure(*_: object, streams: int, seconds: float, cancel: Any) -> float:
        assert (streams, seconds) == (8, 1.0)
        cancel()
        return 0.03

    monkeypatch.setattr(sections, "measure_cancel", measure)
    assert list(measured(BY_NAME["cancel"], opened).values()) == pytest.approx([30])
    assert cast("Any", opened.running).signals == [signal.SIGTERM]


def test_chains_are_by_the_cpu_of_the_hops_and_of_everything(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    def measure(*_: object, pids: object, **__: object) -> Bulk:
        return Bulk(0, 4 * GIB, 2.0, cpu={(10, 11): 2.0, (os.getpid(),): 8.0}[tuple(cast("Any", pids))])

    monkeypatch.setattr(sections, "measure_bulk", measure)
    assert list(measured(BY_NAME["chains"], opened).values()) == [2.0, 0.5, 2.0]


def test_ours_is_cancelled_without_grace(tmp_path: Path) -> None:
    first, *_ = BY_NAME["cancel"].contestants(PEERS)
    with first.open(tmp_path):
        [config] = tmp_path.rglob("chainsocks.toml")
        assert load_config(config).timeouts.grace == 0.001


def test_who_takes_part() -> None:
    names = {name: [one.name for one in section.contestants(PEERS)] for name, section in BY_NAME.items()}
    everybody = [peer.name for peer in PEERS]
    for name in ("sessions", "idle", "echo", "fairness", "cancel"):
        assert names[name] == everybody
    assert names["bulk"] == everybody + [loop.name for loop in LOOPS]
    assert (names["workers"], names["chains"]) == (["1 worker", "2 workers"], ["1 hop", "3 hops"])
    for section in SECTIONS:
        assert section.reference == names[section.name][0]
    assert BY_NAME["bulk"].reference == OURS
