"""The far end, the hops and the proxies that these tests share. Each is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chainsocks.config.hops import Hop
from chainsocks.tools.bench.hops import RunningHop, open_hops
from chainsocks.tools.bench.target import Target, open_target
from tests.background import Background, running_background


@pytest.fixture(scope="session")
def far_end() -> Iterator[Target]:
    with open_target() as target:
        yield target


@pytest.fixture
def target(far_end: Target) -> Target:
    """The far end, with no connection left from the test before."""
    assert far_end.wait_until_quiet(20)
    return far_end


@pytest.fixture(scope="session")
def running_hops() -> Iterator[tuple[RunningHop, ...]]:
    with open_hops(2) as hops:
        yield hops


@pytest.fixture(scope="session")
def hops(running_hops: tuple[RunningHop, ...]) -> tuple[Hop, ...]:
    return tuple(running.hop for running in running_hops)


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    with running_background() as background:
        yield background
