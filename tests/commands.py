"""Run the command line: in this process where that will do, and as a program where the process itself matters."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chainsocks.cli import main
from tests.e2e.programs import PATIENCE, clean_environment

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


def run_program(home: Path, *arguments: str | Path, words: bytes = b"", **environment: str) -> Result:
    """Run the program, from `home` and as somebody whose home that is; `words` is its standard input."""
    done = subprocess.run(
        [CHAINSOCKS, *arguments],
        input=words,
        capture_output=True,
        cwd=home,
        env=clean_environment(home, **environment),
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


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
