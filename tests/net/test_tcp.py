"""TCP connects on real loopback sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio
from anyio.abc import SocketAttribute
from trio.testing import MockClock

from chainsocks.egress import Egress
from chainsocks.net.poller import Poller
from chainsocks.net.tcp import open_tcp
from chainsocks.protocol.address import Address, address_of, parse_unix_address
from tests.net.sockets import LOOPBACK, LOOPBACK6, descriptors, needs_ipv6, read_all

loopbacks = pytest.mark.parametrize(
    "host", [pytest.param(LOOPBACK, id="ipv4"), pytest.param(LOOPBACK6, id="ipv6", marks=needs_ipv6)]
)

# --- connecting


@loopbacks
async def test_connect(host: str) -> None:
    with listening(host) as (listener, address):
        async with await open_tcp(address) as stream:
            accepted, peer = listener.accept()
            with accepted:
                assert peer == stream.extra(SocketAttribute.local_address)
                await stream.send(b"hello")
                assert accepted.recv(100) == b"hello"
                accepted.send(b"goodbye")
                accepted.shutdown(socket.SHUT_WR)
                assert await read_all(stream) == b"goodbye"


async def test_where_it_comes_from_may_be_said() -> None:
    with listening(LOOPBACK) as (listener, address):
        async with await open_tcp(address, egress=Egress((Address("127.0.0.2", 0),))):
            accepted, peer = listener.accept()
            accepted.close()
            assert peer[0] == "127.0.0.2"


async def test_small_messages_are_not_held_back() -> None:
    with listening(LOOPBACK) as (_, address):
        async with await open_tcp(address) as stream:
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_with_a_poller_the_second_small_message_is_the_first_that_could_be_held_back(poller: Poller) -> None:
    with listening(LOOPBACK) as (_, address):
        async with await open_tcp(address, poller) as stream:
            for expected in (0, 1, 1):
                await stream.send(b"small")
                assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == expected


@loopbacks
async def test_a_refusal_says_so(host: str) -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        await open_tcp(nobody_at(host))
    assert (caught.value.errno, caught.value.strerror) == (errno.ECONNREFUSED, "Connection refused")


@loopbacks
async def test_a_socket_that_connects_to_itself_is_refused(host: str) -> None:
    """TCP lets it (RFC 9293 section 3.5, simultaneous open) where the port is free and the local one falls on it."""
    nowhere, before = nobody_at(host), descriptors()
    with pytest.raises(ConnectionRefusedError):
        await open_tcp(nowhere, egress=Egress((nowhere,)))
    assert descriptors() == before
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as again:
        again.bind((nowhere.host, nowhere.port))  # no TIME_WAIT keeps the port


async def test_a_port_in_use_to_the_same_place_is_an_error_of_ours() -> None:
    with listening(LOOPBACK) as (_, address):
        async with await open_tcp(address) as stream:
            taken = address_of(stream.socket.getsockname())
            with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is looked at below)
                await open_tcp(address, egress=Egress((taken,)))
    assert caught.value.errno == errno.EADDRINUSE


@needs_ipv6
async def test_an_error_that_the_kernel_knows_at_once() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is looked at below)
        await open_tcp(Address("fe80::1", 80))  # link-local, on no link
    assert caught.value.errno == errno.EINVAL


async def test_a_cancelled_connect_leaves_no_socket(sockets_on_mock_clock: MockClock) -> None:
    with deaf() as address:
        before = descriptors()
        with trio.move_on_after(5) as scope:
            await open_tcp(address)
        assert scope.cancelled_caught
        assert trio.current_time() == 5
        assert descriptors() == before


async def test_a_failed_connect_leaves_no_socket() -> None:
    before = descriptors()
    with pytest.raises(ConnectionRefusedError):
        await open_tcp(nobody_at(LOOPBACK))
    assert descriptors() == before


# --- helpers


@contextmanager
def listening(host: str, backlog: int = 10) -> Iterator[tuple[socket.socket, Address]]:
    """Listen on a port of the kernel's choice."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        listener.listen(backlog)
        yield listener, Address(host, listener.getsockname()[1])


@contextmanager
def deaf() -> Iterator[Address]:
    """Give an address at which connects are never answered: a listener whose backlog is full."""
    with listening(LOOPBACK, backlog=0) as (_, address), ExitStack() as waiting:
        for _ in range(4):
            sock = waiting.enter_context(socket.socket())
            sock.settimeout(0)
            sock.connect_ex((address.host, address.port))
        yield address


def nobody_at(host: str) -> Address:
    """Give an address at which nobody listens."""
    with listening(host) as (_, address):
        return address


@pytest.mark.parametrize("is_polled", [False, True])
async def test_a_unix_socket(poller: Poller, tmp_path: Path, *, is_polled: bool) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        address = parse_unix_address(f"unix:{path}")
        async with await open_tcp(address, poller if is_polled else None) as first:
            async with trio.open_nursery() as nursery:  # the backlog has room for one

                async def second() -> None:
                    await (await open_tcp(address)).aclose()

                nursery.start_soon(second)
                await trio.sleep(0.05)
                accepted, _ = listener.accept()
            with accepted:
                await first.send(b"hello")
                assert accepted.recv(100) == b"hello"
                accepted.send(b"goodbye")
                accepted.shutdown(socket.SHUT_WR)
                assert await read_all(first) == b"goodbye"


async def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        await open_tcp(parse_unix_address(f"unix:{tmp_path}/nothing"))
    assert descriptors() == before
