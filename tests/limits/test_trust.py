"""Which clients no limit is for."""

from __future__ import annotations

import pytest

from chainsocks.config.limits import Limits
from chainsocks.config.listeners import ListenAddress, UnixPath
from chainsocks.config.load import parse_config
from chainsocks.limits.trust import Trust
from chainsocks.protocol.address import Address

TCP, UNIX = Address("127.0.0.1", 1080), UnixPath("/run/chainsocks.sock")
TRUST = Trust(
    parse_config(
        '[limits]\ntrusted = ["10.0.0.0/8", "192.0.2.1-192.0.2.3", "2001:db8::/32", "unix:/run/chainsocks.sock"]'
    ).limits
)


@pytest.mark.parametrize(
    ("host", "listener", "covered"),
    [
        ("10.255.0.1", TCP, True),
        ("::ffff:10.0.0.1", TCP, True),
        ("11.0.0.1", TCP, False),
        ("192.0.2.3", TCP, True),
        ("192.0.2.4", TCP, False),
        ("2001:db8:1::1", TCP, True),
        ("fe80::1%eth0", TCP, False),
        ("::1", TCP, False),
        ("", UNIX, True),
        ("", UnixPath("/run/other.sock"), False),
        ("10.0.0.1", UNIX, True),  # a client that a load balancer tells of
        ("11.0.0.1", UNIX, False),
    ],
)
def test_clients_are_trusted(host: str, listener: ListenAddress, *, covered: bool) -> None:
    assert TRUST.covers(host, listener) is covered
    assert not Trust(Limits()).covers(host, listener)
