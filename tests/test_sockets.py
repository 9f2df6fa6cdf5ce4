"""The local address of a route, as the kernel chooses it."""

from __future__ import annotations

import pytest

from chainsocks.protocol.address import Address
from chainsocks.sockets import local_address
from tests.net.sockets import needs_ipv6


def test_the_way_to_loopback_begins_at_loopback() -> None:
    assert local_address(Address("127.0.0.1", 80)) == Address("127.0.0.1", 0)
    assert local_address(Address("127.0.0.1", 0)) == Address("127.0.0.1", 0)


@needs_ipv6
def test_so_it_is_with_ipv6() -> None:
    assert local_address(Address("::1", 80)) == Address("::1", 0)


def test_where_no_route_leads() -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        local_address(Address("255.255.255.255", 80))  # broadcasts are not for sockets that did not ask for them
    assert caught.value.errno
