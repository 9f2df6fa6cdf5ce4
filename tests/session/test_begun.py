"""How an error at this end is described."""

from __future__ import annotations

import errno

import pytest

from chainsocks.session.begun import describe_error


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (MemoryError(), ("an error at this end: out of memory", True)),
        (OSError(errno.EMFILE, "too many open files"), ("an error at this end: [Errno 24] too many open files", True)),
        (ZeroDivisionError("a bug"), ("a bug in chainsocks ended it", False)),
        (ExceptionGroup("", [ExceptionGroup("", [MemoryError()])]), ("an error at this end: out of memory", True)),
    ],
)
def test_an_error_at_this_end(error: Exception, described: tuple[str, bool]) -> None:
    assert describe_error(error) == described
