"""Listening sockets for several processes. Here they are all in one, which makes no difference to the kernel."""

from __future__ import annotations

import errno
import select
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from chainsocks.config.choices import NamesOnly
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.net.listeners import OpenListener, open_listeners
from chainsocks.net.sharing import can_share, listen_beside, reserve_listeners
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, LOOPBACK6, descriptors, free_port, needs_ipv6

ANYWHERE, ANYWHERE6 = "0.0.0.0", "::"

ANY_PORT = Listener(Address(LOOPBACK, 0))

CLIENTS = 64
"""That all of them come to the same one of two listeners is as likely as 63 times heads."""


def test_connections_are_spread_over_the_listeners_at_an_address() -> None:
    with reserve_listeners([ANY_PORT]) as reserved, ExitStack() as stack:
        listeners = [stack.enter_context(listen_beside(reserved))[0].sock for _ in range(2)]
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(reserved[0].sock.getsockname()))
        came = [accept_all(listener) for listener in listeners]
        assert sum(came) == CLIENTS
        assert all(came)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        pytest.param(LOOPBACK, "127.0.0.1", id="ipv4"),
        pytest.param(LOOPBACK6, "[::1]", id="ipv6", marks=needs_ipv6),
    ],
)
def test_port_0_is_one_port_for_all(host: str, shown: str) -> None:
    with reserve_listeners([Listener(Address(host, 0))]) as reserved:
        port = reserved[0].sock.getsockname()[1]
        assert port != 0
        assert str(reserved[0]) == f"{shown}:{port}"
        for _ in range(2):
            with listen_beside(reserved) as [listener]:
                assert str(listener) == f"{shown}:{port}"
                assert accepts(listener.sock)


def test_a_reserved_address_receives_no_connection_before_a_listener_is_open_or_after() -> None:
    with reserve_listeners([ANY_PORT]) as reserved:
        address = reserved[0].sock.getsockname()
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
            with listen_beside(reserved) as [listener]:
                assert accepts(listener.sock)


@pytest.mark.parametrize("served", [True, False], ids=["served", "not-served"])
@pytest.mark.parametrize("shared", [True, False], ids=["by-a-server-with-workers", "by-one-without"])
def test_a_reserved_address_is_taken_for_others(*, served: bool, shared: bool) -> None:
    take = reserve_listeners if shared else open_listeners
    with reserve_listeners([ANY_PORT]) as reserved, ExitStack() as stack:
        if served:
            stack.enter_context(listen_beside(reserved))
        taken = Address(LOOPBACK, reserved[0].sock.getsockname()[1])
        with pytest.raises(OSError) as caught, take([Listener(taken)]):  # noqa: PT011  (its number is looked at)
            pass
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, str(taken))


def test_an_address_in_use_cannot_be_reserved() -> None:
    with open_listeners([ANY_PORT]) as [listener]:
        taken = Address(LOOPBACK, listener.sock.getsockname()[1])
        before = descriptors()
        with pytest.raises(OSError) as caught, reserve_listeners([ANY_PORT, Listener(taken)]):  # noqa: PT011
            pass
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, str(taken))
        assert descriptors() == before


def test_an_address_can_be_had_again_right_after_it_was_served() -> None:
    with reserve_listeners([ANY_PORT]) as reserved:
        address = Address(*reserved[0].sock.getsockname())
        with listen_beside(reserved) as [listener], socket.create_connection(reserved[0].sock.getsockname()):
            accept(listener.sock).close()  # closed by the serving side first: TIME_WAIT is ours
    with reserve_listeners([Listener(address)]):
        pass
    with open_listeners([Listener(address)]):
        pass


@needs_ipv6
@pytest.mark.parametrize("hosts", [(ANYWHERE, ANYWHERE6), (ANYWHERE6, ANYWHERE)])
def test_both_families_go_together_on_one_port(hosts: tuple[str, str]) -> None:
    port = free_port()
    with (
        reserve_listeners([Listener(Address(host, port)) for host in hosts]) as reserved,
        listen_beside(reserved) as listeners,
    ):
        assert [each.sock.getsockname()[:2] for each in listeners] == [(host, port) for host in hosts]


def test_listeners_and_what_they_accept_neither_block_nor_hold_small_messages_back() -> None:
    with reserve_listeners([ANY_PORT]) as reserved, listen_beside(reserved) as [listener]:
        assert listener.sock.gettimeout() == 0
        with socket.create_connection(listener.sock.getsockname()), accept(listener.sock) as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


def test_a_unix_socket_is_shared_and_removed_by_the_one_that_reserved_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with reserve_listeners([Listener(UnixPath(str(path)))]) as reserved:
        for _ in range(2):
            with listen_beside(reserved) as [one], listen_beside(reserved) as [other]:
                assert str(one) == str(other) == f"unix:{path}"
                assert (one.sock.gettimeout(), other.sock.gettimeout()) == (0, 0)
                assert accepts(one.sock)
                assert accepts(other.sock)
            assert path.is_socket()
    assert not path.exists()


def test_all_kinds_come_in_their_order_and_are_closed(tmp_path: Path) -> None:
    wanted = [ANY_PORT, Listener(UnixPath(str(tmp_path / "s")), names_only=NamesOnly.REFUSE), ANY_PORT]
    with reserve_listeners(wanted) as reserved:
        before = descriptors()
        with listen_beside(reserved) as listeners:
            assert [*map(str, listeners)] == [*map(str, reserved)]
            assert [each.listener for each in listeners] == wanted
        assert descriptors() == before


def test_trouble_on_the_way_closes_what_was_opened() -> None:
    with reserve_listeners([ANY_PORT]) as reserved, socket.socket() as private:
        private.bind((LOOPBACK, 0))  # without SO_REUSEPORT: no socket can listen beside it
        before = descriptors()
        with pytest.raises(OSError) as caught, listen_beside([*reserved, OpenListener(ANY_PORT, private)]):  # noqa: PT011
            pass
        assert caught.value.errno == errno.EADDRINUSE
        assert descriptors() == before


@pytest.mark.parametrize("missing", ["SO_REUSEPORT", "AF_UNIX"])
def test_a_system_on_which_nothing_is_shared(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    assert can_share()
    monkeypatch.delattr(socket, missing)
    assert not can_share()


# --- helpers


def accept(listener: socket.socket) -> socket.socket:
    """Wait for a connection, as the server does."""
    select.select([listener], [], [])
    return listener.accept()[0]


def accept_all(listener: socket.socket) -> int:
    """Count the connections that have come to a listener."""
    number = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return number
        number += 1


def accepts(listener: socket.socket) -> bool:
    """Return whether a listener receives a connection to its address; others there must share its queue."""
    with socket.socket(listener.family) as client:
        client.connect(listener.getsockname())
        return accept_all(listener) == 1
