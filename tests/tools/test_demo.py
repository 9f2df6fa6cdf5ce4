"""`chainsocks demo`: one request through three hops, what each step took, and how the failure of a hop reads."""

from __future__ import annotations

import errno
import io
import re
import signal
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from chainsocks.tools.demo import DemoError, demo
from tests.commands import CHAINSOCKS
from tests.e2e.programs import Program, clean_environment, find_program
from tests.e2e.spawner import OWN

ADDRESS = r"127\.0\.0\.1:\d+"

STEPS = [
    ("paris (1 of 3)", "socks5", "TCP connect"),
    ("", "", "method negotiation"),
    ("", "", "username/password sub-negotiation"),
    ("", "", "request"),
    ("osaka (2 of 3)", "socks4a", "request"),
    ("lima (3 of 3)", "socks5", "method negotiation"),
    ("", "", "request"),
    ("all hops", "", ""),
]

ANSWER = "Hello from the far end of the chain."

FAILURE = (
    rf"hop paris \(1 of 3\) at {ADDRESS}, request: it could not reach osaka at {ADDRESS}, "
    r"it says: connection refused \(05\) \(\d\.\d\d s of 10 s\)"
)

END = "All is well: three hops carried a request, and the one that failed was named."


def no_progress() -> Console:
    return Console(file=io.StringIO())


def rows(text: str) -> list[list[str]]:
    """The cells of each row of a table; a row that has no hop and no time goes on with the one above."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("│"):
            cells = [cell.strip() for cell in line.strip("│").split("│")]
            if cells[-1]:
                found.append(cells)
            else:
                found[-1] = [f"{above} {cell}".strip() for above, cell in zip(found[-1], cells, strict=True)]
    return found


async def test_every_hop_and_step_has_its_row() -> None:
    output = io.StringIO()
    await demo(Console(file=output, width=1000), no_progress(), stay=False)
    text = output.getvalue()
    table = rows(text)
    assert [(hop, protocol, step) for hop, protocol, _, step, _ in table] == STEPS
    for hop, _, address, _, milliseconds in table:
        assert re.fullmatch(r"\d+\.\d\d", milliseconds)
        assert re.fullmatch(ADDRESS if " of 3" in hop else "", address)
    # Each row is cut to hundredths on its own.
    assert abs(sum(float(row[-1]) for row in table[:-1]) - float(table[-1][-1])) < 0.1
    assert f"\nThe web server answered: {ANSWER}\n" in text


async def test_what_is_started_and_what_is_asked_for_is_said() -> None:
    output = io.StringIO()
    await demo(Console(file=output, width=1000), no_progress(), stay=False)
    lines = output.getvalue().splitlines()
    assert lines[0] == "Starting five servers on this machine:"
    assert [re.sub(rf" +{ADDRESS}$", "", line) for line in lines[1:6]] == [
        "  web server",
        "  hop paris (socks5)",
        "  hop osaka (socks4a)",
        "  hop lima (socks5)",
        "  front",
    ]
    assert lines[7] == "One request: client -> front -> paris -> osaka -> lima -> web server"


async def test_a_hop_is_stopped_and_named() -> None:
    output = io.StringIO()
    await demo(Console(file=output, width=1000), no_progress(), stay=False)
    *_, now, but, failure, empty, end = output.getvalue().splitlines()
    assert now == "Now hop osaka is stopped, and the same request is sent again."
    assert but == "It fails, as it has to, and the front says that osaka cannot be reached:"
    assert re.fullmatch(f"  {FAILURE}", failure)
    assert (empty, end) == ("", END)
    stopped = next(line.split()[-1] for line in output.getvalue().splitlines() if "hop osaka" in line)
    assert f"osaka at {stopped}, " in failure


async def test_a_terminal_shows_the_present_step() -> None:
    """It is drawn now and then, and when it goes away."""
    shown = io.StringIO()
    await demo(Console(file=io.StringIO()), Console(file=shown, force_terminal=True, width=200), stay=False)
    assert re.search(rf"destination {ADDRESS}, open", shown.getvalue())
    assert re.search(rf"hop paris \(1 of 3\) at {ADDRESS}, request", shown.getvalue())


async def test_a_hop_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was being started, why it was not, and what to do."""
    output = io.StringIO()

    async def serve(*_: object, **__: object) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr("chainsocks.tools.demo.serve", serve)
    with pytest.RaisesGroup(
        pytest.RaisesExc(
            DemoError,
            match=r"^hop paris \(socks5\) cannot be started: Address already in use; another program .*; try again$",
        )
    ):
        await demo(Console(file=output), no_progress(), stay=False)
    assert output.getvalue().endswith("  hop paris (socks5)    failed\n")


async def test_a_request_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that permits no connections within itself."""

    async def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("chainsocks.tools.demo.connect_tcp", refuse)
    with pytest.RaisesGroup(pytest.RaisesExc(DemoError, match=r"failed: .*not permitted; .* firewall or sandbox")):
        await demo(Console(file=io.StringIO()), no_progress(), stay=False)


def test_too_few_files(tmp_path: Path) -> None:
    program = Program(["/bin/sh", "-c", f'ulimit -n 40 && exec "{CHAINSOCKS}" demo'], clean_environment(tmp_path))
    assert program.ended() == 1
    what = "the demo needs 64 open files, and the limit is 40: raise it with `ulimit -n 64`"
    assert program.lines == [f"chainsocks: {what}"]


def test_piped_each_step_is_one_line(tmp_path: Path) -> None:
    program = Program([OWN, "demo"], clean_environment(tmp_path, COLUMNS="30"))
    assert program.ended() == 0
    assert len(rows(program.said)) == len(STEPS) == sum(line.startswith("│") for line in program.lines)
    assert program.lines[-1] == END
    assert "\x1b" not in program.said


def test_staying_it_serves_the_curl_line_that_it_prints(tmp_path: Path) -> None:
    curl = find_program("curl", "curl")
    environment = clean_environment(tmp_path, COLUMNS="30")
    program = Program([OWN, "demo", "--stay"], environment)
    try:
        line = program.wait_for(rf"^  curl (--socks5-hostname {ADDRESS} http://{ADDRESS}/)$")[1]
        for _ in range(2):
            done = subprocess.run(
                [curl, "-q", "-sS", *line.split()], env=environment, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{ANSWER}\n", "")
    finally:
        program.process.send_signal(signal.SIGINT)
        status = program.ended()
    assert status == 128 + signal.SIGINT
    assert program.lines[-1].startswith("  curl "), "its end needs no words"
    assert re.search(FAILURE, program.said)


@pytest.mark.parametrize("stay", [False, True], ids=["once", "stay"])
async def test_a_bug_ends_it(monkeypatch: pytest.MonkeyPatch, *, stay: bool) -> None:
    """Nothing that it has started keeps it up."""

    async def fetch(proxy: str, target: str) -> bytes:
        raise RuntimeError(proxy, target)

    monkeypatch.setattr("chainsocks.tools.demo._fetch", fetch)
    with pytest.RaisesGroup(RuntimeError):
        await demo(Console(file=io.StringIO()), no_progress(), stay=stay)
