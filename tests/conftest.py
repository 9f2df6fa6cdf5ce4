"""What every test has: a ceiling, a garbage collector that skips all other tests, and no other deadline.

Hypothesis takes an example that lasts 0.2 s for a failure, and input that is drawn slowly too: a loaded machine fails
for that, while the ceiling is meant for it.

Each worker of pytest-xdist imports all test modules. Half of that time, 7 s of CPU for each worker, would be
compilation, so the workers share it: each first imports the modules that are its part, and finds the others compiled.
That takes files for the bytecode, in ``__pycache__``, even where PYTHONDONTWRITEBYTECODE is set.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.ceiling import (
    pytest_exception_interact,
    pytest_runtest_call,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_runtest_teardown,
    pytest_sessionfinish,
)

__all__ = [
    "pytest_collection",
    "pytest_collection_finish",
    "pytest_exception_interact",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_xdist_auto_num_workers",
]

_runtime = tempfile.TemporaryDirectory(prefix="chainsocks-")
os.environ["XDG_RUNTIME_DIR"] = _runtime.name
"""No server of the tests has its control socket where one of this machine may be."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the processes that tests start would compile chainsocks each time
sys.dont_write_bytecode = False

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control ignores it for what it starts in the background, and all programs below inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without the garbage collector, which would find nothing; in a worker, import its part before."""
    gc.disable()
    try:
        worker: dict[str, Any] | None = getattr(session.config, "workerinput", None)
        if worker:
            _import_part(int(worker["workerid"].removeprefix("gw")), worker["workercount"])
        return (yield)
    finally:
        gc.enable()


def _import_part(number: int, parts: int) -> None:
    """Import part `number` of the test modules, which leaves their bytecode for the other workers."""
    tests = Path(__file__).parent
    for file in sorted(tests.rglob("test_*.py"))[number::parts]:
        with suppress(Exception, pytest.skip.Exception):  # the collection will meet it again, and report it
            importlib.import_module(".".join(file.relative_to(tests.parent).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """Take the modules and tests out of all collections to come: some tests ask for a collection of their own."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the keywords of tests that pass: they are half of what a worker sends for each, and nothing reads them."""
    report = yield
    if report.passed:
        report.keywords = {}
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two tests for each core with ``-n auto``: many of them wait, for kernels and for other programs."""
    return 2 * (os.cpu_count() or 1)
