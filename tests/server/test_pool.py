"""The processes of the workers. What becomes of them is in test_workers.py, and in tests/e2e/test_workers.py."""

from __future__ import annotations

import pytest

from chainsocks.server.pool import next_pause


@pytest.mark.parametrize(
    ("last", "lived", "pause"),
    [
        pytest.param(0, 0, 0.1, id="the-first-at-once"),
        pytest.param(0.1, 0, 0.2, id="the-second"),
        pytest.param(0.2, 9.9, 0.4, id="after-a-short-life"),
        pytest.param(12.8, 0, 25.6, id="the-ninth"),
        pytest.param(25.6, 0, 30, id="never-longer"),
        pytest.param(30, 0, 30, id="never-ever"),
        pytest.param(30, 10, 0.1, id="after-a-long-life"),
        pytest.param(0, 1000, 0.1, id="the-first-after-a-long-life"),
    ],
)
def test_the_pause_before_a_replacement(last: float, lived: float, pause: float) -> None:
    assert next_pause(last, lived) == pause
