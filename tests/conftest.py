"""What every test has: a ceiling, a garbage collector that skips all other tests, and no other deadline.

Hypothesis takes an example that lasts 0.2 s for a failure, and input that is drawn slowly too: a loaded machine fails
for that, while the ceiling is meant for it.
"""

from __future__ import annotations

import gc
import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests.ceiling import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown

__all__ = [
    "pytest_collection_finish",
    "pytest_runtest_call",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_xdist_auto_num_workers",
]

_runtime = tempfile.TemporaryDirectory(prefix="chainsocks-")
os.environ["XDG_RUNTIME_DIR"] = _runtime.name
"""No server of the tests has its control socket where one of this machine may be."""

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_collection_finish() -> None:
    """Take the modules and tests out of all collections to come: some tests ask for a collection of their own."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two tests for each core with ``-n auto``: many of them wait, for kernels and for other programs."""
    return 2 * (os.cpu_count() or 1)
