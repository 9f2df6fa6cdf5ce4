"""Real sockets for tests: connected pairs, resets, and an account of what was left open."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator

import pytest
from anyio import EndOfStream
from anyio.abc import ByteReceiveStream
from trio.testing import MockClock

from chainsocks.net.poller import Poller, open_poller

__all__ = [
    "LOOPBACK",
    "LOOPBACK6",
    "PATIENCE",
    "descriptors",
    "free_port",
    "needs_ipv6",
    "nothing_left_open",
    "poller",
    "read_all",
    "read_exactly",
    "reset",
    "sockets_on_mock_clock",
    "tcp_pair",
    "unix_pair",
]

LOOPBACK, LOOPBACK6 = "127.0.0.1", "::1"

PATIENCE = 0.01
"""Real seconds of quiet before a mock clock jumps, where sockets take part: the kernel may still be at work."""


def tcp_pair(host: str = LOOPBACK, *, buffers: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Connect two non-blocking sockets over loopback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        listener.listen()
        near = socket.socket(family, socket.SOCK_STREAM)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _prepared(near, far, buffers)


def unix_pair(*, buffers: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Connect two non-blocking unix sockets."""
    return _prepared(*socket.socketpair(), buffers)


def _prepared(near: socket.socket, far: socket.socket, buffers: int | None) -> tuple[socket.socket, socket.socket]:
    for sock in (near, far):
        sock.settimeout(0)
        if buffers is not None:  # now they stay as they are; by themselves they grow
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
    return near, far


def free_port() -> int:
    """Find a port that is free at every address of both families: other tests use all of 127.0.0.0/8."""
    with socket.socket(socket.AF_INET6 if _has_ipv6() else socket.AF_INET) as sock:
        if sock.family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("", 0))
        return int(sock.getsockname()[1])


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def descriptors() -> set[str]:
    """Name all file descriptors of this process."""
    return set(os.listdir("/dev/fd"))  # noqa: PTH208  (there are no paths here)


async def read_exactly(stream: ByteReceiveStream, size: int) -> bytes:
    """Receive `size` bytes and not one more."""
    data = bytearray()
    while len(data) < size:
        data += await stream.receive(size - len(data))
    return bytes(data)


async def read_all(stream: ByteReceiveStream) -> bytes:
    """Receive up to the end of the stream."""
    data = bytearray()
    try:
        while True:
            data += await stream.receive()
    except EndOfStream:
        return bytes(data)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind((LOOPBACK6, 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Fail a test that leaves a file descriptor open."""
    before = descriptors()
    yield
    assert descriptors() == before


@pytest.fixture
def sockets_on_mock_clock(autojump_clock: MockClock) -> MockClock:
    """The mock clock, for tests in which the kernel takes part."""
    autojump_clock.autojump_threshold = PATIENCE
    return autojump_clock


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    """A poller at work."""
    async with open_poller() as poller:
        assert poller
        yield poller
