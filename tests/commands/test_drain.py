"""`chainsocks drain`: it returns when the server has ended."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from chainsocks.control.messages import Draining
from tests.commands import run_main
from tests.control.answering import answering
from tests.control.fleets import FakeFleet


class Ending(FakeFleet):
    """Says that it is a process that ends when it is told to."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self.process = process

    async def drain(self, delay: float) -> Draining:
        self.told.append(("drain", delay))
        self.process.terminate()
        return Draining(self.process.pid, delay, None if delay else 5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "draining: up to 5 s for the open sessions"),
        (["--delay", "2.5"], "draining: new connections for 2.5 s more, then without a limit for the open sessions"),
    ],
)
def test_it_waits_for_the_connection_and_the_process(
    capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        fleet = Ending(process)
        with answering(fleet) as path:
            results = []
            command = threading.Thread(target=lambda: results.append(run_drain(capsys, path, options)))
            command.start()
            process.wait()
            command.join(0.05)
            assert command.is_alive()  # the connection is open
        command.join()
    assert results == [(0, f"{says}\nthe server has ended\n", "")]
    assert fleet.told == [("drain", float(options[1]) if options else 0)]


def run_drain(capsys: pytest.CaptureFixture[str], path: Path, options: list[str]) -> tuple[int, str, str]:
    return run_main(capsys, "drain", "--control", path, *options)
