"""The limits of a server: who is asked about, and what a change of them does."""

from __future__ import annotations

from ipaddress import ip_network

from chainsocks.config.limits import Limits
from chainsocks.config.listeners import UnixPath
from chainsocks.limits.limiter import Limiter
from chainsocks.protocol.address import Address

TCP, UNIX = Address("127.0.0.1", 1080), UnixPath("/run/chainsocks.sock")


def may_enter(limiter: Limiter, host: str, account: str = "", listener: Address | UnixPath = TCP) -> bool:
    return limiter.refusal(object(), host, account or host, listener) is None


def test_addresses_of_one_client_count_together() -> None:
    limiter = Limiter(lambda: 0.0, Limits(sessions_per_client=1))
    assert may_enter(limiter, "2001:db8::1", "2001:db8::")
    assert not may_enter(limiter, "2001:db8::2", "2001:db8::")
    assert may_enter(limiter, "192.0.2.1")
    assert not may_enter(limiter, "::ffff:192.0.2.1", "192.0.2.1")
    assert may_enter(limiter, "", listener=UNIX)
    assert not may_enter(limiter, "", listener=UNIX)


def test_trusted_clients_do_not_count() -> None:
    trusted = (ip_network("10.0.0.0/8"), UNIX)
    limiter = Limiter(lambda: 0.0, Limits(sessions_per_client=1, sessions_per_user=1, trusted=trusted))
    assert all(may_enter(limiter, "10.0.0.1", "user carol") for _ in range(3))
    assert all(may_enter(limiter, "", listener=UNIX) for _ in range(3))
    assert not limiter.sessions.counted
    assert may_enter(limiter, "192.0.2.1", "user carol")
    limiter.change(Limits(sessions_per_client=1, sessions_per_user=1))
    assert may_enter(limiter, "10.0.0.1")
    assert not may_enter(limiter, "10.0.0.1")
    assert not may_enter(limiter, "10.0.0.2", "user carol")
