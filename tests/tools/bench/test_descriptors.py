"""How many file descriptors there are, and are left."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from chainsocks.tools.bench.descriptors import RESERVE, free_descriptors, raise_limit


@pytest.fixture
def few() -> Iterator[int]:
    """A limit of 256, which may be raised."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield 256
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_is_open_is_not_free(few: int) -> None:
    before = free_descriptors()
    assert 0 < before < few - RESERVE
    with open("/dev/null") as _, open("/dev/null") as _second:  # noqa: PTH123
        assert free_descriptors() == before - 2
    assert free_descriptors() == before


def test_the_limit_is_raised_as_far_as_it_goes(few: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = free_descriptors()
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert free_descriptors() == before + hard - few


def test_fewer_than_the_reserve_is_none(few: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (RESERVE, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    assert free_descriptors() == 0
