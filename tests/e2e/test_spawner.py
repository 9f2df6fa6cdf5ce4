"""How programs are started, and that none of them is left when the tests are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.background import wait_until
from tests.e2e.programs import ROOT, Process, Program, clean_environment
from tests.e2e.spawner import OWN

TESTS = f"""
import sys
from pathlib import Path
from tests.e2e.programs import Program

env = {{"PATH": "/usr/bin:/bin", "HOME": "/"}}
stubborn = Program(["/bin/sh", "-c", "trap '' HUP TERM; sleep 600 & echo child $!; echo sh $$; wait"], env)
server = Program(["{OWN}", "serve", "--listen", "127.0.0.1:0", "--workers", "2"], env)
stubborn.wait_for("sh")
server.wait_for("worker 2 .* has started")
print(stubborn.said, server.said, f"server {{server.process.pid}}", sep="\\n", flush=True)
sys.stdin.read()
"""
"""A test run with two programs that have children, and that nobody will stop."""


def is_running(pid: int) -> bool:
    """Whether there is such a process, other than one that only has to be waited for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_no_program_is_left_when_the_tests_are_killed(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TESTS], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout
        said = ""
        while not (last := re.search(r"^server (\d+)$", said, re.MULTILINE)):
            line = tests.stdout.readline()
            assert line, said
            said += line
        pids = [int(pid) for pid in re.findall(r"(?:^child |^sh |\(pid )(\d+)", said, re.MULTILINE)]
        pids.append(int(last[1]))
        assert len(pids) == 5
        assert all(is_running(pid) for pid in pids)
        tests.send_signal(number)
    for pid in pids:
        wait_until(lambda: not is_running(pid))  # noqa: B023


def test_our_program_is_a_process_of_its_own(tmp_path: Path) -> None:
    program = Program([OWN, "serve", "--listen", "127.0.0.1:0"], clean_environment(tmp_path, MARK="here"))
    program.wait_for("listening")
    process = Path(f"/proc/{program.process.pid}")
    assert os.getsid(program.process.pid) == program.process.pid
    assert (process / "fd" / "0").readlink() == Path("/dev/null")
    outputs = {(process / "fd" / number).readlink() for number in "12"}
    assert len(outputs) == 1
    inherited = {entry.readlink() for entry in (process / "fd").iterdir() if int(entry.name) > 2}
    assert not inherited & outputs
    assert program.process.poll() is None
    assert program.stop() == 0


def test_the_end_of_a_process(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        for command, status in (
            (["/bin/sh", "-c", "exit 7"], 7),
            (["/bin/sh", "-c", "kill -9 $$"], -signal.SIGKILL),
            (["/bin/sh", "-c", "kill -PIPE $$"], -signal.SIGPIPE),
            ([OWN, "no-such-command"], 2),
            ([OWN, "--version"], 0),
        ):
            process = Process(command, clean_environment(tmp_path), tmp_path, out.fileno(), out.fileno())
            assert [process.wait(20), process.poll()] == [status, status]
            process.send_signal(signal.SIGKILL)  # as with ``subprocess.Popen``, nothing happens


def test_a_process_that_does_not_end_in_time(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = Process(["/bin/sleep", "600"], {}, tmp_path, out.fileno(), out.fileno())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
