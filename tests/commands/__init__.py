"""Run the command line: in this process where that will do, and as a program where the process itself matters."""

from __future__ import annotations

import io
import logging
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from chainsocks.cli import main
from tests.e2e.programs import PATIENCE, RUNTIME, Command, Process, clean_environment, new_runtime_folder
from tests.e2e.spawner import OWN

__all__ = ["CHAINSOCKS", "Result", "run_main", "run_process", "run_program"]

CHAINSOCKS = Path(sysconfig.get_path("scripts")) / "chainsocks"

Result = tuple[int, str, str]
"""Exit status, standard output, standard error."""


def run_main(capsys: pytest.CaptureFixture[str], *arguments: str | Path, words: bytes = b"") -> Result:
    """Call what the program calls, with `arguments`; `words` is its standard input."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, _logging_kept():
        patch.setenv(RUNTIME, new_runtime_folder())
        patch.setattr(sys, "argv", ["chainsocks", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(words)))
        with pytest.raises(SystemExit) as caught:
            main()
    assert isinstance(caught.value.code, int)
    return caught.value.code, *capsys.readouterr()


def run_program(
    home: Path, *arguments: str | Path, program: str | Path = OWN, words: bytes = b"", **environment: str
) -> Result:
    """Run our program as a process, from `home` and as a user whose home that is; `words` is its standard input."""
    return run_process([program, *arguments], clean_environment(home, **environment), home, words)


def run_process(command: Command, environment: Mapping[str, str], directory: Path, words: bytes = b"") -> Result:
    """Run a program to its end; `words` is its standard input."""
    with ExitStack() as stack:
        input_, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        input_.write(words)
        input_.seek(0)
        process = Process(command, environment, directory, out.fileno(), err.fileno(), input_.fileno())
        try:
            status = process.wait(PATIENCE)
        finally:
            process.send_signal(signal.SIGKILL)
        for file in (out, err):
            file.seek(0)
        return status, out.read().decode(), err.read().decode()


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
