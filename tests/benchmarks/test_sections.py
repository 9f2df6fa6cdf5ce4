from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import sections
from benchmarks.contestants import LOOPS, Opened
from benchmarks.peers import OURS, PEERS
from benchmarks.sections import SECTIONS, Section
from benchmarks.session_load import Load
from chainsocks.config.load import load_config
from chainsocks.protocol.address import Address
from chainsocks.tools.bench import run
from chainsocks.tools.bench.accounting import Cost
from chainsocks.tools.bench.bulk import Bulk
from chainsocks.tools.bench.echo import Echo
from chainsocks.tools.bench.figures import IDLE_MEMORY, SESSION_RATE, Sample
from chainsocks.tools.bench.run import Effort, Step, Subject
from chainsocks.tools.bench.sessions import Idle, Sessions
from chainsocks.tools.bench.way import Way

GIB = 2**30
BY_NAME = {section.name: section for section in SECTIONS}


class Target:
    pids = (20, 21)


class Running:
    address = Address("127.0.0.1", 1)
    pids = (10, 11)

    def __init__(self) -> None:
        self.signals: list[signal.Signals] = []

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)


@pytest.fixture
def opened() -> Opened:
    return Opened(Subject(Way("it"), (10, 11)), cast("Any", Target()), cast("Any", Running()))


def measured(section: Section, opened: Opened, notes: list[str] | None = None) -> dict[str, float]:
    sample = section.measure(opened, Effort(2.0, 100), (notes if notes is not None else []).append)
    return {figure.key: value for figure, value in sample.items()}


def test_bulk_comes_down_on_each_number_of_streams(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    def measure(*_: object, streams: int, direction: str, seconds: float, pids: object) -> Bulk:
        assert (direction, seconds, pids) == ("down", 2.0, (10, 11))
        return Bulk(0, 3 * GIB * streams, Cost(2.0, 1.5))

    monkeypatch.setattr(run, "measure_bulk", measure)
    assert measured(BY_NAME["bulk"], opened) == {
        "bulk_down_1_bytes_per_second": 1.5 * GIB,
        "bulk_down_1_cpu_seconds_per_gib": 0.5,
        "bulk_down_8_bytes_per_second": 12.0 * GIB,
        "bulk_down_8_cpu_seconds_per_gib": 0.0625,
    }


def test_the_other_sections_of_the_bench(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    monkeypatch.setattr(run, "measure_sessions", lambda *_, **__: Sessions(4000, 0, Cost(2.0, 1.0)))
    monkeypatch.setattr(run, "measure_echo", lambda *_, beside=0, **__: Echo((0.5,), 7.0 * beside))
    assert measured(BY_NAME["sessions"], opened) == {"sessions_per_second": 2000, "session_cpu_seconds": 0.00025}
    assert measured(BY_NAME["echo"], opened) == {"echo_p50_seconds": 0.5, "echo_p99_seconds": 0.5}
    assert measured(BY_NAME["fairness"], opened) == {
        "echo_beside_8_p50_seconds": 0.5,
        "echo_beside_8_p99_seconds": 0.5,
        "echo_beside_8_bytes_per_second": 56.0,
    }


def test_workers_are_measured_in_their_place(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    log: list[object] = []

    @contextmanager
    def placed(*where: object) -> Iterator[None]:
        log.append(where)
        yield
        log.append("free")

    def measure(*_: object) -> Sample:
        log.append("measured")
        return {SESSION_RATE: 1.0}

    monkeypatch.setattr(sections, "placed", placed)
    monkeypatch.setattr(sections, "SESSIONS", Step(run.Part.SESSIONS, "sessions", measure))
    measured(BY_NAME["workers"], opened)
    assert log == [(10, (20, 21)), "measured", "free"]


def test_no_more_idle_sessions_are_asked_for_than_there_are_descriptors(
    monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    asked: list[int] = []

    def measure(*_: object, count: int, pids: object) -> Idle:
        assert pids == (10, 11)
        asked.append(count)
        return Idle(count, count, count * 9)

    monkeypatch.setattr(run, "measure_idle", measure)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, sections.SPARE + 300))
    notes: list[str] = []
    assert measured(BY_NAME["idle"], opened, notes) == {IDLE_MEMORY.key: 9.0}
    assert measured(BY_NAME["idle"], replace(opened, descriptors=6), notes) == {IDLE_MEMORY.key: 9.0}
    assert asked == [100, 50]
    assert notes == ["50 idle sessions instead of 100: each takes 6 descriptors"]


def test_growth_is_within_the_descriptors(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    def measure(*_: object, count: int, seconds: float) -> Sample:
        assert seconds == 2.0
        return {IDLE_MEMORY: float(count)}

    monkeypatch.setattr(sections, "measure_growth", measure)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, sections.SPARE + 30))
    assert measured(BY_NAME["growth"], opened) == {IDLE_MEMORY.key: 15.0}


def test_the_rate_has_the_busy_share_of_its_load(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    loads = iter([1.7, 1.5])

    def measure(proxy: Address, far_host: str, folder: Path, *, seconds: float, pids: object) -> Load:
        assert (proxy, folder, seconds, pids) == (Running.address, Path(), 2.0, (10, 11))
        assert far_host.startswith("127.")
        return Load(4000, 2.0, 1.0, next(loads))

    monkeypatch.setattr(sections, "measure_session_load", measure)
    notes: list[str] = []
    expected = {"sessions_per_second": 2000, "session_cpu_seconds": 0.00025}
    assert measured(BY_NAME["rate"], opened, notes) == expected | {"load_busy": 0.85}
    assert notes == ["the load was busy 85% of the time once; the server may be able to do more"]
    assert measured(BY_NAME["rate"], opened, notes) == expected | {"load_busy": 0.75}
    assert len(notes) == 1


def test_the_rate_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "find_program", lambda _: None)
    assert {one.missing for one in BY_NAME["rate"].contestants(PEERS[:1])} == {"there is no gcc here"}


@pytest.mark.measure
def test_rules_and_logins_are_in_the_configuration(tmp_path: Path) -> None:
    by_name = {one.name: one for one in BY_NAME["sessions"].contestants(PEERS[:1])}
    configs = []
    for name in ("chainsocks, 20 rules", "chainsocks, login"):
        folder = tmp_path / name
        folder.mkdir()
        with by_name[name].open(folder):
            [config] = folder.rglob("chainsocks.toml")
            configs.append(load_config(config))
    assert len(configs[0].rules) == 20
    assert len(configs[1].users) == 1


def test_cancelling_is_a_signal_to_the_server(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    def measure(*_: object, streams: int, seconds: float, cancel: Callable[[], None]) -> float:
        assert (streams, seconds) == (8, 1.0)
        cancel()
        return 0.03

    monkeypatch.setattr(sections, "measure_cancel", measure)
    assert measured(BY_NAME["cancel"], opened) == {"cancel_seconds": 0.03}
    assert cast("Any", opened.running).signals == [signal.SIGTERM]


def test_chains_are_by_the_cpu_of_the_hops_and_of_everything(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    monkeypatch.setattr(sections, "measure_bulk", lambda *_, **__: Bulk(0, 4 * GIB, Cost(2.0, 2.0, 1.0, 5.0)))
    assert measured(BY_NAME["chains"], opened) == {
        "bulk_down_1_cpu_seconds_per_gib": 0.5,
        "total_cpu_seconds_per_gib": 2.0,
        "bulk_down_1_bytes_per_second": 2 * GIB,
    }


@pytest.mark.measure
def test_ours_is_cancelled_without_grace(tmp_path: Path) -> None:
    first, *_ = BY_NAME["cancel"].contestants(PEERS)
    with first.open(tmp_path):
        [config] = tmp_path.rglob("chainsocks.toml")
        assert load_config(config).timeouts.grace == 0.001


def test_who_takes_part() -> None:
    names = {name: [one.name for one in section.contestants(PEERS)] for name, section in BY_NAME.items()}
    every_peer = [peer.name for peer in PEERS]
    for name in ("rate", "echo", "fairness", "cancel"):
        assert names[name] == every_peer
    hops = [f"{OURS}, 1 hop", f"{OURS}, 3 hops"]
    assert names["sessions"] == [*every_peer, f"{OURS}, 20 rules", f"{OURS}, login", *hops]
    assert names["idle"] == every_peer + hops
    assert names["growth"] == [OURS, *hops]
    assert names["bulk"] == every_peer + [loop.name for loop in LOOPS]
    assert (names["workers"], names["chains"]) == (["1 worker", "2 workers"], ["1 hop", "3 hops"])
    for section in SECTIONS:
        assert section.reference == names[section.name][0]
    assert BY_NAME["bulk"].reference == OURS
