"""Where redirected connections were going to, without a kernel that redirects: tests/e2e/test_redirect.py has one."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from chainsocks.net.redirected import original_destination
from chainsocks.protocol.address import Address


class Redirected(socket.socket):
    """A socket of which the kernel says where its connection was going to."""

    said: bytes | int = b""

    def getsockname(self) -> tuple[str, int]:
        return ("::1", 1081) if self.family is socket.AF_INET6 else ("127.0.0.1", 1081)

    def getsockopt(self, level: int, number: int, size: int = 0) -> bytes:  # type: ignore[override]
        levels = {socket.AF_INET: (socket.IPPROTO_IP, 16), socket.AF_INET6: (socket.IPPROTO_IPV6, 28)}
        assert ((level, size), number) == (levels[self.family], 80)
        if isinstance(self.said, int):
            raise OSError(self.said, "")
        return self.said


IPV4 = struct.pack("=H", socket.AF_INET) + bytes([1, 187, 192, 0, 2, 80]) + bytes(8)


def ipv6(host: str, scope: int = 0) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, host)
    return struct.pack("=H", socket.AF_INET6) + bytes([1, 187]) + bytes(4) + packed + struct.pack("=I", scope)


@pytest.mark.parametrize(
    ("family", "said", "destination"),
    [
        (socket.AF_INET, IPV4, Address("192.0.2.80", 443)),
        (socket.AF_INET6, ipv6("2001:db8::80"), Address("2001:db8::80", 443)),
        (socket.AF_INET6, ipv6("2001:db8::80", 7), Address("2001:db8::80", 443)),
        (socket.AF_INET6, ipv6("fe80::80", 7), Address("fe80::80", 443, scope=7)),
        pytest.param(socket.AF_INET, errno.ENOENT, Address("127.0.0.1", 1081), id="not redirected"),
        pytest.param(socket.AF_INET6, errno.ENOPROTOOPT, Address("::1", 1081), id="no netfilter"),
    ],
)
def test_the_kernel_is_asked(family: socket.AddressFamily, said: bytes | int, destination: Address) -> None:
    with Redirected(family) as connection:
        connection.said = said
        assert original_destination(connection) == destination


def test_a_client_that_is_gone_is_an_error() -> None:
    with Redirected(socket.AF_INET) as connection:
        connection.said = errno.ENOTCONN
        with pytest.raises(OSError, match=f"{errno.ENOTCONN}"):
            original_destination(connection)
