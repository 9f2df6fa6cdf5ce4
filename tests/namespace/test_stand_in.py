"""A process that stands in for a command: the test is its caller, as a shell is one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.programs import PATIENCE

STAND_IN = """
import os, signal, sys
from chainsocks.namespace.stand_in import end_as, start_command, wait_for_command
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # a caller in the background may ignore them
    signal.signal(number, signal.SIG_DFL)
command = start_command()
if command == 0: os.execvp("sh", ["sh", "-c", sys.argv[1]])
end_as(wait_for_command(command))
"""


COUNT = """
import os, signal, sys
awaited = {int(sys.argv[1])}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
print(os.getpid(), flush=True)
count, patience = 0, 20
while signal.sigtimedwait(awaited, patience): count, patience = count + 1, 0.05
print(count)
sys.exit(9)
"""


@contextmanager
def stand_in(script: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a script of sh, whose first line is its process id, by a process that leads a group; yield both."""
    with subprocess.Popen(
        [sys.executable, "-c", STAND_IN, script], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 7", 7),
        ("kill -TERM $$", -signal.SIGTERM),
        ("kill -KILL $$", -signal.SIGKILL),
        ("kill -SEGV $$", -signal.SIGSEGV),
    ],
)
def test_it_ends_as_its_command(script: str, status: int) -> None:
    with stand_in(f"echo $$; {script}") as (process, _):
        assert process.wait(PATIENCE) == status


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "ALRM"])
def test_a_signal_reaches_the_command_once(name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    with stand_in(f"exec {sys.executable} -Sc '{COUNT}' {number:d}") as (process, _):
        process.send_signal(number)
        assert process.stdout
        assert process.stdout.read() == "1\n"
        assert process.wait(PATIENCE) == 9


def test_what_the_command_sends_to_its_group_does_not_come_back() -> None:
    with stand_in("trap 'echo TERM' TERM; echo $$; kill -TERM 0; exit 3") as (process, _):
        assert process.stdout
        assert process.stdout.read() == "TERM\n"
        assert process.wait(PATIENCE) == 3


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_it_stops_and_goes_on_with_its_command(number: signal.Signals) -> None:
    with stand_in("echo $$; exec sleep 60") as (process, command):
        os.kill(command, number)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert os.WSTOPSIG(status) == number
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)  # a stopped command would not end
        assert process.wait(PATIENCE) == -signal.SIGTERM


def test_it_takes_its_command_along() -> None:
    with stand_in("echo $$; exec sleep 60") as (process, _):
        process.kill()
        assert process.stdout
        assert process.stdout.read() == ""  # the end of the command
