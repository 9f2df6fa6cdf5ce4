"""Programs of ours: how they start, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chainsocks.tools.bench import child
from chainsocks.tools.bench.accounting import exists
from chainsocks.tools.bench.child import ChildError, open_child, say_ready
from chainsocks.tools.bench.hops import RunningHop
from tests.background import PATIENCE, wait_until

HOPS = "chainsocks.tools.bench.hops"
SLEEPS = ("timeit", "-n1", "-r1", "import time; time.sleep(60)")
"""It says nothing, and does not care for its standard input."""

STARTER = f"""
from chainsocks.tools.bench.child import open_child
with open_child("{HOPS}") as child:
    print(child.pid, flush=True)
    input()
"""


def test_it_has_said_that_it_is_ready() -> None:
    with open_child(HOPS) as running:
        assert len(running.words) == 1
        assert running.words[0].startswith("127.0.0.1:")
        assert running.process.poll() is None
    assert running.process.returncode == 0, "it was not killed"
    assert not exists(running.pid)


def test_it_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert exists(pid)
        parent.kill()
    wait_until(lambda: not exists(pid))


def test_the_terminal_does_not_interrupt_it(running_hops: tuple[RunningHop, ...]) -> None:
    for running in running_hops:
        assert os.getpgid(running.pid) != os.getpgid(0)


def test_one_that_ends_at_once() -> None:
    with pytest.raises(ChildError, match="abc ended before it was ready"), open_child("abc"):
        pass


def test_one_that_is_never_ready_and_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PATIENCE", 0.1)
    with pytest.raises(ChildError, match=r"timeit was not ready within 0\.1 s"), open_child(*SLEEPS):
        pass


def test_what_it_says_of_an_error_can_be_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with pytest.raises(ChildError), open_child("chainsocks.no_such_module", quiet=quiet):
            pass
        assert ("No module named" in capfd.readouterr().err) != quiet


def test_it_does_not_run_what_lies_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "select.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with open_child(HOPS) as running:
        assert running.words


def test_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    say_ready("a", 1)
    assert capsys.readouterr().out == "a 1\n"


def test_one_that_is_killed_is_seen_to_have_ended() -> None:
    with open_child(HOPS) as running:
        os.kill(running.pid, signal.SIGKILL)
        running.process.wait(PATIENCE)
        assert running.ended
