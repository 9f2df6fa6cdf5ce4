"""What every test has: a ceiling, and a garbage collector that does not look at all other tests."""

from __future__ import annotations

import gc

from tests.ceiling import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown

__all__ = ["pytest_collection_finish", "pytest_runtest_call", "pytest_runtest_setup", "pytest_runtest_teardown"]


def pytest_collection_finish() -> None:
    """Take the modules and tests out of all collections to come: some tests ask for a collection of their own."""
    gc.collect()
    gc.freeze()
