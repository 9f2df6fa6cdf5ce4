from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import programs
from benchmarks.programs import CannotStart, Program, find_program, free_address, open_programs
from chainsocks.protocol.address import Address
from tests.background import wait_until
from tests.benchmarks.servers import server


def listens(address: Address) -> bool:
    try:
        socket.create_connection((address.host, address.port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("kind", ["plain", "stubborn", "parent"])
def test_a_program_listens_inside_and_is_gone_outside(tmp_path: Path, kind: str) -> None:
    address = free_address()
    with open_programs(lambda: [server(address, kind)], tmp_path) as running:
        assert running.address == address
        assert listens(address)
    assert not listens(address)
    assert not [pid for pid in running.pids if Path(f"/proc/{pid}").exists()]


def test_a_program_is_gone_when_the_measurement_failed(tmp_path: Path) -> None:
    address = free_address()
    with pytest.raises(ZeroDivisionError), open_programs(lambda: [server(address)], tmp_path):
        _ = 1 / 0
    assert not listens(address)


def test_the_last_of_several_is_the_one_to_talk_to(tmp_path: Path) -> None:
    first, last = free_address(), free_address()
    with open_programs(lambda: [server(first), server(last)], tmp_path) as running:
        assert running.address == last
        assert listens(first)
        assert len(running.pids) == 2
    assert not listens(first)


def test_a_port_that_is_taken_is_no_reason_to_give_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.listen()
        free = free_address()
        plans = iter([[Program(["/bin/false"], free_address())], [server(free)]])
        with open_programs(lambda: next(plans), tmp_path) as running:
            assert running.address == free


def test_a_program_that_ends_is_shown_with_its_last_words(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo first; echo last words >&2; exit 1"]
    with (
        pytest.raises(CannotStart, match=r"/bin/sh does not listen on 127\.\d.*:\d+:\nfirst\nlast words"),
        open_programs(lambda: [Program(command, free_address())], tmp_path),
    ):
        pass


def test_a_program_that_never_listens_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PATIENCE", 0.05)
    pids = tmp_path / "pids"
    command = ["/bin/sh", "-c", f"echo $$ >> {pids}; exec sleep 1000"]
    with pytest.raises(CannotStart), open_programs(lambda: [Program(command, free_address())], tmp_path):
        pass
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists()


KILLED = """
import os, pathlib, signal, sys
from benchmarks.programs import free_address, open_programs
from tests.benchmarks.servers import server
with open_programs(lambda: [server(free_address(), "parent")], pathlib.Path(sys.argv[1])) as running:
    print(running.pids[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_program_and_its_children_end_when_the_benchmark_is_killed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, check=False)
    group = int(done.stdout)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: not programs._lives(group))


def test_a_signal_reaches_the_program(tmp_path: Path) -> None:
    address = free_address()
    with open_programs(lambda: [server(address)], tmp_path) as running:
        running.send_signal(signal.SIGKILL)
        assert os.waitid(os.P_PID, running.pids[0], os.WEXITED | os.WNOWAIT)


def test_programs_of_administrators_are_found() -> None:
    assert find_program("sh")
    assert find_program("no-such-program") is None
