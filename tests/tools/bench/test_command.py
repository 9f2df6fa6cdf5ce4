"""`chainsocks bench` as it is typed: what is understood, what is refused before anything runs, what comes out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from chainsocks.config.hops import Hop
from chainsocks.tools.bench import command
from chainsocks.tools.bench.command import Options, bench, parse_parts
from chainsocks.tools.bench.figures import Results
from chainsocks.tools.bench.run import Effort, OnStep, Part, Subject
from tests.background import Background, Script
from tests.commands import run_main, run_program

QUICK = ("--seconds", "0.02", "--idle-sessions", "20")


Ran = list[tuple[list[Hop], tuple[int, ...], int, tuple[set[Part], Effort]]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """What would have been measured."""
    calls: Ran = []

    @contextmanager
    def open_subjects(
        hops: list[Hop], pids: tuple[int, ...], count: int, on_step: OnStep
    ) -> Iterator[tuple[Subject, ...]]:
        on_step(0, None, "1 hop: start")
        calls.append((hops, pids, count, (set(), Effort())))
        yield ()

    def run(parts: frozenset[Part], effort: Effort, subjects: tuple[Subject, ...], on_step: OnStep) -> Results:
        calls.append((*calls.pop()[:3], (set(parts), effort)))
        on_step(0, 2, "direct: [b]sessions[/b]")
        on_step(1, 2, "proxy: echo")
        return Results("direct")

    monkeypatch.setattr(command, "open_subjects", open_subjects)
    monkeypatch.setattr(command, "run", run)
    return calls


class TestWhatIsUnderstood:
    def test_by_itself(self, capsys: pytest.CaptureFixture[str], ran: Ran) -> None:
        assert run_main(capsys, "bench")[0] == 0
        assert ran == [([], (), 3, (set(Part), Effort(1, 1000)))]

    def test_all_options(self, capsys: pytest.CaptureFixture[str], ran: Ran) -> None:
        pid = str(os.getpid())
        chain = ["--hop", "socks5://alice:secret@a:1", "--hop", "socks4a://b"]
        status, out, err = run_main(capsys, "bench", *chain, "--pid", pid, *QUICK, "--only", "idle, bulk", "--json")
        assert (status, err) == (0, "")
        assert json.loads(out)["seconds"] == 0.02
        [(hops, pids, _, what)] = ran
        assert [str(hop.address) for hop in hops] == ["a:1", "b:1080"]
        assert pids == (os.getpid(),)
        assert what == ({Part.IDLE, Part.BULK}, Effort(0.02, 20))

    def test_a_proxy(self, capsys: pytest.CaptureFixture[str], ran: Ran) -> None:
        assert run_main(capsys, "bench", "--proxy", "socks4://fred@127.0.0.1:9")[0] == 0
        assert [hop.protocol for hop in ran[0][0]] == ["socks4"]

    @pytest.mark.parametrize(("named", "ports"), [([], [1]), (["--chain", "two"], [1, 2])])
    def test_a_chain_of_a_file(
        self, capsys: pytest.CaptureFixture[str], ran: Ran, tmp_path: Path, named: list[str], ports: list[int]
    ) -> None:
        assert run_main(capsys, "bench", "-c", write(tmp_path), *named)[0] == 0
        assert [hop.address.port for hop in ran[0][0]] == ports
        assert ran[0][0][0].tls, "its keys come with it"

    def test_a_number_of_hops(self, capsys: pytest.CaptureFixture[str], ran: Ran) -> None:
        assert run_main(capsys, "bench", "--hops", "1")[0] == 0
        assert ran[0][2] == 1

    def test_parts(self) -> None:
        assert parse_parts("echo") == {Part.ECHO}
        assert parse_parts("echo, bulk,echo") == {Part.ECHO, Part.BULK}


@pytest.mark.parametrize(
    ("arguments", "complaints"),
    [
        pytest.param(["--proxy", "socks6://alice:hunter2@a"], ["--proxy: unknown scheme 'socks6'"], id="scheme"),
        pytest.param(["--proxy", ""], ["--proxy: expected a URL"], id="empty"),
        pytest.param(
            ["--proxy", "socks5://a", "--hop", "socks5://b"], ["--hop: cannot be combined with --proxy"], id="both"
        ),
        pytest.param(
            ["--proxy", "socks5://a", "--hops", "2"],
            ["--hops: N (the number of built-in hops) cannot be combined"],
            id="count",
        ),
        pytest.param(["--pid", "1"], ["--pid: needs --proxy, --hop or --chain"], id="pid-alone"),
        pytest.param(["--proxy", "socks5://a", "--pid", "4194305"], ["--pid: there is no process 4194305"], id="pid"),
        pytest.param(["--only", "bulk,speed"], ["--only: unknown part 'speed'; expected some of bulk, ses"], id="only"),
        pytest.param(["--only", ""], ["--only: unknown part ''"], id="only-nothing"),
        pytest.param(
            ["--proxy", "socks5://a", "--only", "idle"], ["--only: idle measures the memory of a process"], id="no-pid"
        ),
        pytest.param(
            ["--hop", "nonsense", "--pid", "4194305", "--only", "speed"],
            ["--hop: expected a URL", "--pid: there is no process", "--only: unknown part"],
            id="all-at-once",
        ),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], ran: Ran, arguments: list[str], complaints: list[str]) -> None:
    status, out, err = run_main(capsys, "bench", *arguments)
    assert (status, out, ran) == (2, "", [])
    lines = err.splitlines()
    assert len(lines) == len(complaints)
    for line, complaint in zip(lines, complaints, strict=True):
        assert line.startswith(f"chainsocks: {complaint}")
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--chain", "tow"], "--chain: no chain is called 'tow'; known are"),
        (["--chain", "either"], "--chain: chain either has a choice of hops"),
        (["--chain", "none"], "--chain: chain none has no hops"),
        (["--chain", "local"], "--hop: a hop at a unix socket"),
        (["--hop", "socks5://a"], "--chain: cannot be combined with --proxy or --hop"),
    ],
)
def test_a_chain_that_cannot_be_measured(
    capsys: pytest.CaptureFixture[str], ran: Ran, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    status, out, err = run_main(capsys, "bench", "-c", write(tmp_path), *arguments)
    assert (status, out, ran) == (2, "", [])
    assert err.startswith(f"chainsocks: {complaint}")


def write(folder: Path) -> Path:
    """Make a file with chains of hops that a URL cannot declare."""
    file = folder / "chainsocks.toml"
    file.write_text(f"""
[hops]
one = {{ protocol = "socks5", address = "127.0.0.1:1", tls = {{ pin = "sha256/{"A" * 43}=" }} }}
two = "http://127.0.0.1:2"
socket = "socks5://unix:/run/tor.sock"
[groups]
both = ["one", "two"]
[chains]
default = ["one"]
two = ["one", "two"]
either = ["both"]
none = "direct"
local = ["socket"]
""")
    return file


class TestThePlot:
    def test_without_matplotlib(
        self, capsys: pytest.CaptureFixture[str], ran: Ran, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        missing = "this needs the extra plot, which is not installed"
        complaint = f"--plot: {missing}: pip install '.[plot]' in the folder with pyproject.toml"
        assert run_main(capsys, "bench", "--plot", "plot.svg") == (2, "", f"chainsocks: {complaint}\n")
        assert ran == []

    def test_a_folder_that_is_not_there(self, capsys: pytest.CaptureFixture[str], ran: Ran, tmp_path: Path) -> None:
        path = tmp_path / "none" / "plot.svg"
        assert run_main(capsys, "bench", "--plot", path) == (1, "", f"chainsocks: {path}: No such file or directory\n")
        assert ran == []

    def test_a_folder(self, capsys: pytest.CaptureFixture[str], ran: Ran, tmp_path: Path) -> None:
        assert run_main(capsys, "bench", "--plot", tmp_path) == (1, "", f"chainsocks: {tmp_path}: Is a directory\n")
        assert ran == []

    def test_finding_out_leaves_nothing_and_harms_nothing(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        new, old = tmp_path / "new.svg", tmp_path / "old.svg"
        old.write_text("a picture")
        for path in (new, old):
            status, _, err = run_main(capsys, "bench", "--proxy", "socks5://127.0.0.1:1", "--plot", path)
            assert (status, err.count("\n")) == (1, 1)
            assert "hop 127.0.0.1:1 (1 of 1) at 127.0.0.1:1, TCP connect: connection refused" in err
        assert not new.exists()
        assert old.read_text() == "a picture"


def test_a_mute_proxy_does_not_hang_it(
    capsys: pytest.CaptureFixture[str], background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainsocks.tools.bench.way.Route.patience", 0.2)
    script = Script(b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6))
    proxy = f"socks5://{background.listen(script)}"
    status, out, err = run_main(capsys, "bench", "--proxy", proxy)
    assert (status, out, err) == (1, "", "chainsocks: proxy: a word did not come back within 0.2 s\n")


@pytest.mark.measure
def test_everything_by_itself(tmp_path: Path) -> None:
    """As a program; on standard output there is JSON, and nothing on standard error, which is no terminal."""
    status, out, err = run_program(tmp_path, "bench", "--hops", "1", *QUICK, "--json", "--plot", "plot.svg")
    assert (status, err) == (0, "")
    ways = json.loads(out)["ways"]
    assert [way["name"] for way in ways] == ["direct", "1 hop"]
    assert len(ways[0]["figures"]) == 12
    assert len(ways[1]["figures"]) == 20
    assert "echo beside 8 streams" in (tmp_path / "plot.svg").read_text()


def test_through_a_proxy_whose_process_is_known(capsys: pytest.CaptureFixture[str], background: Background) -> None:
    proxy = ["--proxy", f"socks5://{background.proxy()}", "--pid", str(os.getpid())]
    status, out, _ = run_main(capsys, "bench", *proxy, *QUICK, "--only", "sessions,idle")
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["unit", "direct", "proxy"]
    assert [row[:2] for row in rows[1:] if row] == [
        ["sessions", "sessions/s"],
        ["sessions", "us"],
        ["idle", "session,"],
    ]


ELSEWHERE = """
import importlib.util, select, sys
for name in dir(select):
    if name.lower().startswith("epoll"):
        delattr(select, name)
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "resource" else find_spec(name, package)
import chainsocks.tools.bench.sessions, chainsocks.tools.bench.target
"""


def test_elsewhere_there_is_no_bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "AVAILABLE", False)
    status, out, err = run_main(capsys, "bench")
    assert (status, out) == (1, "")
    assert err.startswith("chainsocks: bench runs on Linux")


def test_elsewhere_it_is_loaded_all_the_same() -> None:
    """With the command line, and without epoll and resource limits."""
    subprocess.run([sys.executable, "-c", ELSEWHERE], check=True)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_is_for_terminals(ran: Ran, *, terminal: bool) -> None:
    output, progress = io.StringIO(), io.StringIO()
    bench(None, Options(), Console(file=output), Console(file=progress, force_terminal=terminal, width=100))
    assert ("1 hop: start" in progress.getvalue()) == terminal
    assert ("0/2" in progress.getvalue()) == terminal
    assert ("direct: [b]sessions[/b]" in progress.getvalue()) == terminal
    assert ("1/2" in progress.getvalue()) == terminal
    assert progress.getvalue() == "" or terminal
    assert "1/2" not in output.getvalue()


def test_the_bar_is_there_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = io.StringIO()

    def open_subjects(*_: object) -> None:
        assert "starting" in progress.getvalue()
        raise InterruptedError

    monkeypatch.setattr(command, "open_subjects", open_subjects)
    with pytest.raises(InterruptedError):
        bench(None, Options(), Console(file=io.StringIO()), Console(file=progress, force_terminal=True, width=100))
    assert progress.getvalue().endswith("\x1b[2K"), "it is erased again"
