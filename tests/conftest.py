"""What every test has: a ceiling, a garbage collector that skips all other tests, and no other deadline.

Hypothesis takes an example that lasts 0.2 s for a failure, and input that is drawn slowly too: a loaded machine fails
for that, while the ceiling is meant for it.
"""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

from tests.ceiling import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown

__all__ = ["pytest_collection_finish", "pytest_runtest_call", "pytest_runtest_setup", "pytest_runtest_teardown"]

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_collection_finish() -> None:
    """Take the modules and tests out of all collections to come: some tests ask for a collection of their own."""
    gc.collect()
    gc.freeze()
