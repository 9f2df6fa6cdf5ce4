"""Defaults as they are written in a file."""

from __future__ import annotations

import math

import pytest

from chainsocks.config.choices import Pick
from chainsocks.config.defaults import written_default
from chainsocks.config.models import Server


@pytest.mark.parametrize(
    ("default", "written"),
    [
        (Pick.FAILOVER, "failover"),
        (False, False),
        (3, 3),
        (60.0, 60),
        (0.5, 0.5),
        (math.inf, "off"),
        ("rcmd", "rcmd"),
        (("rcmd", "socks"), ["rcmd", "socks"]),
        (Server().listen, [{"address": "127.0.0.1:1080"}]),
        (None, None),
        ("", None),
        ((), None),
        (range(1), None),
        (..., None),
    ],
)
def test_a_default(default: object, written: object) -> None:
    result = written_default(default)
    assert result == written
    assert type(result) is type(written)
