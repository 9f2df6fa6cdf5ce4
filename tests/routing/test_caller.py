"""Who asks."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from chainsocks.routing.caller import Caller


def test_nobody_sees_the_user_in_a_log() -> None:
    assert "carol" not in repr(Caller("192.0.2.1", b"carol"))


@pytest.mark.parametrize(
    ("host", "ips"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("fe80::1%eth0", ["fe80::1"]),
        ("::ffff:192.0.2.1", ["192.0.2.1"]),
        ("", []),
    ],
)
def test_addresses(host: str, ips: list[str]) -> None:
    assert Caller(host).ips == tuple(ip_address(ip).packed for ip in ips)
