"""`chainsocks demo`: one request through three hops, and what each step took."""

from __future__ import annotations

import io
import re
import signal
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from chainsocks.tools.demo import demo
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
    await demo(Console(file=output, width=1000), stay=False)
    text = output.getvalue()
    table = rows(text)
    assert [(hop, protocol, step) for hop, protocol, _, step, _ in table] == STEPS
    for hop, _, address, _, milliseconds in table:
        assert re.fullmatch(r"\d+\.\d\d", milliseconds)
        assert re.fullmatch(ADDRESS if " of 3" in hop else "", address)
    # Each row is cut to hundredths on its own.
    assert abs(sum(float(row[-1]) for row in table[:-1]) - float(table[-1][-1])) < 0.1
    assert text.startswith("client -> front (127.0.0.1:")
    assert text.splitlines()[-1] == f"The web server answered: {ANSWER}"


def test_piped_each_step_is_one_line(tmp_path: Path) -> None:
    program = Program([OWN, "demo"], clean_environment(tmp_path, COLUMNS="30"))
    assert program.ended() == 0
    assert len(rows(program.said)) == len(STEPS) == sum(line.startswith("│") for line in program.lines)
    assert program.lines[-1] == f"The web server answered: {ANSWER}"


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


@pytest.mark.parametrize("stay", [False, True], ids=["once", "stay"])
async def test_a_bug_ends_it(monkeypatch: pytest.MonkeyPatch, *, stay: bool) -> None:
    """Nothing that it has started keeps it up."""

    async def fetch(proxy: str, target: str) -> bytes:
        raise RuntimeError(proxy, target)

    monkeypatch.setattr("chainsocks.tools.demo._fetch", fetch)
    with pytest.RaisesGroup(RuntimeError):
        await demo(Console(file=io.StringIO()), stay=stay)
