"""What `chainsocks exec` costs, and that it leaves nothing behind: measured, and so on demand only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import CHAINSOCKS
from tests.e2e.answering_hop import AnsweringHop, answering_hop
from tests.e2e.programs import clean_environment
from tests.namespaces_of_users import needs_namespaces

pytestmark = pytest.mark.measure

ROUNDS = 5
MOST = 2.0
"""Times the CPU of a server's start, which loads the same libraries."""

COST = """
import ctypes, json, os, resource, signal, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: the process of the chain counts as well
def cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
def wait_for_all():
    try:
        while True: os.wait()
    except ChildProcessError: pass
program, hop, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
found = {"exec": [], "serve": []}
for _ in range(rounds):
    before = cpu()
    subprocess.Popen([program, "exec", hop, "--", "true"])
    wait_for_all()
    found["exec"].append(cpu() - before)
    before = cpu()
    server = subprocess.Popen([program, "serve", "--listen=127.0.0.1:0", hop], stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if "listening on" in line: break
    server.kill()
    wait_for_all()
    server.returncode = 0
    found["serve"].append(cpu() - before)
print(json.dumps(found))
"""

CONNECTIONS = """
import json, os, socket, sys
def once(number):
    with socket.create_connection((f"{number % 50}.test", 80)) as sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while sock.recv(65536): pass
def state():
    print(flush=True)
    sys.stdin.readline()
once(0)
state()
for number in range(1000): once(number)
state()
"""


@pytest.fixture
def hop() -> Iterator[AnsweringHop]:
    needs_namespaces()
    with answering_hop() as hop:
        yield hop


def test_it_costs_at_most_twice_the_start_of_a_server(hop: AnsweringHop, tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, "-c", COST, CHAINSOCKS, f"--hop={hop.url}", str(ROUNDS)]
    environment = clean_environment(tmp_path, XDG_RUNTIME_DIR=str(tmp_path))
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    print(found)  # noqa: T201
    assert min(found["exec"]) < MOST * min(found["serve"])


def descriptors_at(folder: Path, but: int) -> dict[int, int]:
    """Return how many files each process has open whose working directory is a folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and int(entry.name) != but and (entry / "cwd").readlink() == folder:
                found[int(entry.name)] = len([*(entry / "fd").iterdir()])
        except OSError:
            continue
    return found


def test_a_thousand_connections_leave_nothing_behind(hop: AnsweringHop, tmp_path: Path) -> None:
    command: list[str | Path] = [CHAINSOCKS, "exec", f"--hop={hop.url}", "--", sys.executable, "-c", CONNECTIONS]
    counts = []
    with subprocess.Popen(
        command,
        env=clean_environment(tmp_path),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin
        assert program.stdout
        for _ in range(2):
            assert program.stdout.readline() == "\n"
            counts.append(descriptors_at(tmp_path, program.pid))
            program.stdin.write("\n")
            program.stdin.flush()
    assert program.returncode == 0
    assert counts[0] == counts[1]
    assert len(counts[0]) == 2  # the program and the process of the chain
    assert len(hop.asked) == 1001
