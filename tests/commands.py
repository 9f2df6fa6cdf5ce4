"""Run the command line: in this process where that will do, and as a program where the process itself matters."""

from __future__ import annotations

import io
import logging
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chainsocks.cli import main
from tests.e2e.programs import PATIENCE, Process, clean_environment
from tests.e2e.spawner import OWN

__all__ = ["CHAINSOCKS", "Result", "run_main", "run_program"]

CHAINSOCKS = Path(sysconfig.get_path("scripts")) / "chainsocks"

Result = tuple[int, str, str]
"""Exit status, standard output, standard error."""


def run_main(capsys: pytest.CaptureFixture[str], *arguments: str | Path, words: bytes = b"") -> Result:
    """Call what the program calls, with `arguments`; `words` is its standard input."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, _logging_kept():
        patch.setattr(sys, "argv", ["chainsocks", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(words)))
        with pytest.raises(SystemExit) as caught:
            main()
    assert isinstance(caught.value.code, int)
    return caught.value.code, *capsys.readouterr()


def run_program(home: Path, *arguments: str | Path, program: str | Path = OWN, **environment: str) -> Result:
    """Run our program as a process, from `home` and as a user whose home that is."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        command = [program, *arguments]
        process = Process(command, clean_environment(home, **environment), home, out.fileno(), err.fileno())
        try:
            status = process.wait(PATIENCE)
        finally:
            process.send_signal(signal.SIGKILL)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return status, said[0], said[1]


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Undo what the program does to the logging of this process."""
    logger = logging.getLogger("chainsocks")
    handlers, level = logger.handlers, logger.level
    try:
        yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
