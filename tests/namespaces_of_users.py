"""Whether this machine lets its users make namespaces, which some tests take."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest

__all__ = ["needs_namespaces"]

_TRY = """
from chainsocks.namespace.enter import enter
try: enter()
except Exception as error: print(error)
"""


@functools.cache
def _problem() -> str:
    if sys.platform != "linux":
        return "namespaces are Linux's"
    return subprocess.run([sys.executable, "-c", _TRY], capture_output=True, check=False, text=True).stdout.strip()


def needs_namespaces() -> None:
    """Skip the test where there are none."""
    if problem := _problem():
        pytest.skip(f"NOT TESTED: {problem}")
