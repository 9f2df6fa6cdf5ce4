"""``[limits]``: what can be written, and what is wrong."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from chainsocks.config.limits import Limit, Limits
from chainsocks.config.listeners import UnixPath
from chainsocks.config.load import parse_config
from chainsocks.errors import ConfigError


def limits_of(*lines: str) -> Limits:
    return parse_config("\n".join(["[limits]", *lines])).limits


def test_all_is_off_by_default() -> None:
    assert parse_config("").limits == limits_of() == Limits()
    off = [f'{limit} = "off"' for limit in Limit]
    assert limits_of(*off) == Limits()


def test_limits_are_read() -> None:
    assert limits_of(
        "sessions_per_client = 50",
        "sessions_per_user = 100",
        "new_per_second = 0.5",
        "handshakes = 300",
        "failed_logins = 5",
        "bandwidth = 12_500_000",
        "bandwidth_per_user = 1000",
        'trusted = ["10.0.0.0/8", "unix:/run/chainsocks.sock", "192.0.2.0-192.0.2.2"]',
    ) == Limits(
        sessions_per_client=50,
        sessions_per_user=100,
        new_per_second=0.5,
        handshakes=300,
        failed_logins=5,
        bandwidth=12_500_000,
        bandwidth_per_user=1000,
        trusted=(
            ip_network("10.0.0.0/8"),
            UnixPath("/run/chainsocks.sock"),
            ip_network("192.0.2.0/31"),
            ip_network("192.0.2.2/32"),
        ),
    )
    assert limits_of("new_per_second = 3", 'trusted = "::1"') == Limits(
        new_per_second=3, trusted=(ip_network("::1/128"),)
    )


COUNT = 'expected a whole number of at least 1, or "off"'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sessions_per_client = 0", f"limits.sessions_per_client: found 0, {COUNT}"),
        ("sessions_per_user = true", f"limits.sessions_per_user: found true, {COUNT}"),
        ("sessions_per_user = 1.5", f"limits.sessions_per_user: found 1.5, {COUNT}"),
        ("bandwidth = 999", 'limits.bandwidth: found 999, expected a whole number of at least 1000, or "off"'),
        ("new_per_second = 0", 'limits.new_per_second: found 0, expected a number above 0, or "off"'),
        ("new_per_second = nan", 'limits.new_per_second: found nan, expected a number above 0, or "off"'),
        (
            'trusted = ["10.0.0.1/8"]',
            "limits.trusted[1]: found '10.0.0.1/8', which is an address within a network; did you mean '10.0.0.0/8'?",
        ),
        (
            'trusted = "unix:run"',
            "limits.trusted: the path of a unix socket starts with /, as in unix:/run/chainsocks.sock",
        ),
        ("session_per_client = 1", "limits.session_per_client: unknown key; did you mean 'sessions_per_client'?"),
    ],
)
def test_mistakes_are_told(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        limits_of(line)
    assert str(raised.value) == problem
