"""Processes of a network namespace, and their end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from chainsocks.tools.exec.left import processes_in, wait_for_end


def test_processes_are_found_by_their_namespace() -> None:
    assert os.getpid() in processes_in(Path("/proc/self/ns/net").stat().st_ino)
    assert processes_in(1) == []


async def test_the_end_of_all_is_waited_for() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdin
        gone = subprocess.Popen(["true"])  # noqa: ASYNC220
        gone.wait()
        process.stdin.close()
        await wait_for_end([process.pid, gone.pid])
        assert process.wait(0) == 0
