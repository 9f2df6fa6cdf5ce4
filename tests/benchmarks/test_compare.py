from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from benchmarks import compare as module
from benchmarks.compare import choose_peers, choose_sections, compare, describe_build, main
from benchmarks.contestants import Contestant, Opened
from benchmarks.cores import CannotLimit
from benchmarks.peers import OURS, PEERS, Peer
from benchmarks.programs import CannotStart
from benchmarks.sections import SECTIONS, Section
from chainsocks.tools.bench.figures import SESSION_RATE, Figure, Results
from chainsocks.tools.bench.run import Effort, Note
from chainsocks.tools.bench.way import BenchError
from tests.e2e.programs import PATIENCE

Measure = Callable[[str], float]


def section(measure: Measure, *names: str, missing: str = "") -> Section:
    """A section whose measurement gets the name of the contestant."""

    def contestant(name: str) -> Contestant:
        @contextmanager
        def start(_: Path) -> Iterator[Opened]:
            yield cast("Any", name)

        return Contestant(name, start, missing="there is no it here" if name == missing else "")

    def run(opened: Opened, _: Effort, note: Note) -> dict[Figure, float]:
        name = cast("str", opened)
        if name == "odd":
            note("it is odd")
        return {SESSION_RATE: measure(name)}

    return Section("test", "A test", names[0], lambda _: [contestant(name) for name in names], run)


def measure_all(tested: Section, folder: Path, rounds: int = 3) -> Results:
    return compare(tested, [], Effort(0.1, 1), rounds, folder, lambda _: None)


def test_each_is_measured_once_a_round_and_each_round_begins_with_another(tmp_path: Path) -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return len(order)

    results = measure_all(section(measure, "a", "b", "c"), tmp_path, rounds=4)
    assert "".join(order) == "abcbcacababc"
    assert results.reference == "a"
    assert results.samples[SESSION_RATE]["a"] == [1, 6, 8, 10]
    assert results.median(SESSION_RATE, "a") == 7


def test_who_is_missing_is_skipped_by_name(tmp_path: Path) -> None:
    results = measure_all(section(lambda _: 1.0, "a", "b", missing="b"), tmp_path)
    assert list(results.samples[SESSION_RATE]) == ["a"]
    assert results.notes == {"b": ["skipped, there is no it here"]}
    assert not results.failed


@pytest.mark.parametrize(
    "error",
    [
        BenchError("it broke"),
        CannotStart("it broke"),
        OSError("it broke"),
        subprocess.CalledProcessError(1, "it broke"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_who_fails_is_named_and_not_tried_again(tmp_path: Path, error: Exception) -> None:
    tried: list[str] = []

    def measure(name: str) -> float:
        tried.append(name)
        if name == "b":
            raise error
        return 1.0

    results = measure_all(section(measure, "a", "b", "c"), tmp_path)
    assert tried.count("b") == 1
    assert len(results.samples[SESSION_RATE]["c"]) == 3
    assert results.failed == {"b"}
    assert "it broke" in results.notes["b"][0]


def test_what_this_machine_cannot_do_is_no_failure(tmp_path: Path) -> None:
    def measure(name: str) -> float:
        raise CannotLimit("no control group can be made")

    results = measure_all(section(measure, "a"), tmp_path)
    assert results.notes == {"a": ["skipped, no control group can be made"]}
    assert not results.failed


def test_a_bug_ends_the_run(tmp_path: Path) -> None:
    def measure(name: str) -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure_all(section(measure, "a"), tmp_path)


def test_remarks_of_a_measurement_are_kept(tmp_path: Path) -> None:
    assert measure_all(section(lambda _: 1.0, "odd"), tmp_path).notes == {"odd": ["it is odd"]}


def test_ours_always_take_part() -> None:
    assert [peer.name for peer in choose_peers(["microsocks"])] == [OURS, "microsocks"]
    assert choose_peers([]) == list(PEERS)


def test_sections_are_measured_in_their_own_order() -> None:
    assert [section.name for section in choose_sections(["echo", "bulk"])] == ["bulk", "echo"]
    assert choose_sections([]) == list(SECTIONS)


@pytest.mark.parametrize("words", [["--only", "bulk,nope"], ["--peer", "nope"], ["--rounds", "0"]])
def test_what_there_is_not_cannot_be_asked_for(words: list[str]) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert words[-1].rpartition(",")[2] in done.output


@pytest.mark.parametrize(("name", "status"), [(OURS, 1), ("2 workers", 1), ("dante", 0)])
def test_only_failures_of_ours_are_failures_of_the_run(monkeypatch: pytest.MonkeyPatch, name: str, status: int) -> None:
    def measure(who: str) -> float:
        if who == name:
            raise BenchError("it broke")
        return 1.0

    monkeypatch.setattr(module, "SECTIONS", [section(measure, "good", name)])
    done = CliRunner().invoke(main, ["--rounds", "1"])
    assert done.exit_code == status
    assert f"{name}: FAILED: it broke" in done.output
    assert (f"could not be measured: test: {name}" in done.output) == bool(status)


def test_markdown_has_a_heading_and_a_table_for_each_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECTIONS", [section(lambda _: 1.0, OURS, "dante")])
    done = CliRunner().invoke(main, ["--markdown", "--rounds", "1"])
    assert "\n### A test\n\n|            | sessions, sessions/s (more is better) |\n| --- | ---: |\n" in done.output
    assert re.search(r"\| dante +\| +1 \(1\.00 x\) \|\n\| best other \| +dante \|", done.output)
    plain = CliRunner().invoke(main, ["--rounds", "1"])
    assert "\nA test\n" in plain.output
    assert "|" not in plain.output


def test_the_date_the_machine_and_the_command_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECTIONS", [])
    monkeypatch.setattr(sys, "argv", ["compare.py", "--peer", "ssh-D", "--rounds", "2"])
    done = CliRunner().invoke(main, ["--peer", "ssh-D", "--rounds", "2"])
    first = done.output.splitlines()[0]
    assert re.match(r"\d{4}-\d\d-\d\d, .+, \d+ cores, Linux \S+, Python 3\.\S+ \([^)]+\): ", first)
    assert first.endswith("`python -m benchmarks.compare --peer ssh-D --rounds 2`")


@pytest.mark.parametrize(
    ("arguments", "build"),
    [
        (None, "of an unknown build"),
        ("", "without PGO and without LTO"),
        ("'--prefix=/a b' '--enable-optimizations' 'CFLAGS=-O2 -g'", "with PGO and without LTO"),
        ("'--with-lto' '--enable-shared'", "without PGO and with LTO"),
        ("'--enable-optimizations' '--with-lto=thin'", "with PGO and with LTO"),
        ("'--with-lto' '--with-lto=no'", "without PGO and without LTO"),
        ("'CPPFLAGS=--enable-optimizations --with-lto'", "without PGO and without LTO"),
    ],
)
def test_the_build_of_python_is_read_from_its_configure(arguments: str | None, build: str) -> None:
    assert describe_build(arguments) == build


@pytest.mark.measure
def test_a_smoke_run_measures_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.compare", "--smoke", "--markdown", "--peer", OURS]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    for one in SECTIONS:
        heading, _, rest = done.stdout.partition(f"### {one.title}\n")
        assert rest, heading
        table = rest.partition("\n###")[0]
        assert re.search(rf"^\| {one.reference} +\| +-?[\d.]+ ", table, re.MULTILINE) or "skipped, no control" in table
    assert list(tmp_path.iterdir()) == []


@pytest.mark.measure
def test_servers_are_ended_with_a_run_that_is_told_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.compare", "--only", "echo", "--peer", OURS, "--seconds", "1000"]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stderr
        assert "round 1 of 5" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_lacks_something_is_named_in_the_real_sections() -> None:
    lacking = Peer("x", "apt install x", lambda _: [], ["no-such-program"])
    for one in choose_sections(["bulk", "sessions", "rate", "idle", "echo", "fairness", "cancel"]):
        [found] = [contestant for contestant in one.contestants([PEERS[0], lacking]) if contestant.name == "x"]
        assert found.missing == "there is no no-such-program here (apt install x)"
