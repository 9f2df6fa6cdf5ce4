from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import ceiling as module
from benchmarks.ceiling import NoCeiling, ceiling

BUSY = """
import sys, time
sys.stdin.readline()
wall, cpu = time.monotonic(), time.process_time()
while time.monotonic() - wall < 0.5:
    pass
print((time.process_time() - cpu) / (time.monotonic() - wall))
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process that says of how much of its time it had a core, once it has been told to begin."""
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def test_a_process_gets_no_more_than_its_share(busy: subprocess.Popen[str]) -> None:
    try:
        with ceiling(busy.pid, 0.2):
            said, _ = busy.communicate("begin\n")
    except NoCeiling as error:
        busy.kill()
        pytest.skip(f"NOT TESTED: {error}")
    assert float(said) < 0.4, "it never gets more than its share, and on a busy machine less"


def test_the_ceiling_is_lifted_again(busy: subprocess.Popen[str]) -> None:
    groups = Path(f"/proc/{busy.pid}/cgroup")
    before = groups.read_text()
    try:
        with ceiling(busy.pid, 0.2):
            assert groups.read_text() != before
    except NoCeiling as error:
        busy.kill()
        pytest.skip(f"NOT TESTED: {error}")
    assert "chainsocks" not in groups.read_text()
    busy.communicate("begin\n")


def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "mounts").write_text(text.format(tmp_path))
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "mounts")


def test_without_control_groups_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts(tmp_path, monkeypatch, "proc /proc proc rw 0 0\ncgroup {} cgroup rw,cpuset 0 0\n")
    with pytest.raises(NoCeiling, match="there are no control groups for CPU time here"), ceiling(1, 0.5):
        pass


def test_without_permission_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts(tmp_path, monkeypatch, "cgroup {}/absent cgroup rw,cpu 0 0\n")
    with pytest.raises(NoCeiling, match="no control group can be made: No such file"), ceiling(1, 0.5):
        pass


def test_the_second_version_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts(tmp_path, monkeypatch, "cgroup2 {} cgroup2 rw 0 0\n")
    (tmp_path / "cgroup.controllers").write_text("memory cpu pids")
    written: dict[str, str] = {}
    monkeypatch.setattr(
        Path, "write_text", lambda path, text: written.update({f"{path.parent.name}/{path.name}": text})
    )
    with ceiling(7, 0.25):
        assert (tmp_path / "chainsocks-benchmark-7").is_dir()
    root = tmp_path.name
    assert written == {
        f"{root}/cgroup.subtree_control": "+cpu",
        "chainsocks-benchmark-7/cpu.max": "2500 10000",
        "chainsocks-benchmark-7/cgroup.procs": "7",
        f"{root}/cgroup.procs": "7",
    }
    assert not (tmp_path / "chainsocks-benchmark-7").exists()
