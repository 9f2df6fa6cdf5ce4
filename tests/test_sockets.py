"""Sockets before an event loop has them: the local address of a route, and bound UDP sockets."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from chainsocks import sockets
from chainsocks.egress import Egress
from chainsocks.protocol.address import Address
from chainsocks.sockets import EgressError, family_of, leave_by, local_address, tcp_socket, udp_socket, unix_socket
from tests.net.sockets import LOOPBACK, LOOPBACK6, needs_ipv6

# --- addresses


def test_the_family_of_an_address() -> None:
    assert family_of(Address(LOOPBACK, 80)) is socket.AF_INET
    assert family_of(Address(LOOPBACK6, 80)) is socket.AF_INET6


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


# --- sockets


@pytest.fixture(params=["this system", "a system without SOCK_NONBLOCK"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "this system":
        monkeypatch.setattr(sockets, "_NON_BLOCKING", 0)


@pytest.mark.usefixtures("system")
def test_a_socket_does_not_block() -> None:
    with tcp_socket(socket.AF_INET) as tcp, udp_socket(LOOPBACK) as udp:
        assert not os.get_blocking(tcp.fileno())
        assert not os.get_blocking(udp.fileno())
        with pytest.raises(BlockingIOError):
            udp.recv(1)


def test_urgent_bytes_stay_in_the_stream() -> None:
    with tcp_socket(socket.AF_INET) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


def test_a_udp_socket_has_room_for_a_burst() -> None:
    with udp_socket(LOOPBACK) as sock, socket.socket(type=socket.SOCK_DGRAM) as plain:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= plain.getsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF
        )


def test_a_free_port_of_the_range() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        first = probe.getsockname()[1]
    ports = range(first, first + 1)
    with udp_socket(LOOPBACK, ports) as sock:
        assert sock.getsockname() == (LOOPBACK, first)
        with pytest.raises(OSError, match="no port is free") as caught:
            udp_socket(LOOPBACK, ports)
        assert caught.value.errno == errno.EADDRINUSE


def test_the_ports_of_a_range_are_taken_in_no_order_that_can_be_guessed() -> None:
    ports = range(20_000, 30_000)
    taken = set()
    for _ in range(10):
        with udp_socket(LOOPBACK, ports) as sock:
            taken.add(sock.getsockname()[1])
    assert taken <= set(ports)
    assert len(taken) > 1  # all ten the same: once in 10 ** 36 runs


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is looked at below)
        udp_socket("192.0.2.1")
    assert caught.value.errno == errno.EADDRNOTAVAIL


@needs_ipv6
def test_ipv4_and_ipv6_can_have_the_same_port() -> None:
    with udp_socket("0.0.0.0") as four:
        port = four.getsockname()[1]
        with udp_socket("::", range(port, port + 1)) as six:
            assert six.getsockname()[1] == port


@needs_ipv6
def test_one_socket_for_both_families() -> None:
    with udp_socket("::", ipv6_only=False) as both, udp_socket(LOOPBACK) as four:
        both.sendto(b"hello", (f"::ffff:{LOOPBACK}", four.getsockname()[1]))
        assert four.recvfrom(100) == (b"hello", (LOOPBACK, both.getsockname()[1]))


# --- how a socket leaves this machine

TO_LOOPBACK = Address(LOOPBACK, 80)


def test_a_socket_leaves_by_the_source_of_its_family() -> None:
    egress = Egress((Address("127.0.0.9", 0), Address("::1", 0)), interface="lo")
    with tcp_socket(socket.AF_INET) as sock, socket.create_server((LOOPBACK, 0)) as server:
        leave_by(sock, egress, TO_LOOPBACK)
        sock.settimeout(None)
        sock.connect(server.getsockname())
        assert sock.getsockname()[0] == "127.0.0.9"
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
    assert local_address(TO_LOOPBACK, egress) == Address("127.0.0.9", 0)
    assert local_address(TO_LOOPBACK, Egress(interface="lo")) == Address(LOOPBACK, 0)


def test_a_udp_socket_has_the_interface() -> None:
    with udp_socket(LOOPBACK, egress=Egress(interface="lo")) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a mark takes CAP_NET_ADMIN")
def test_a_socket_has_its_mark() -> None:
    with tcp_socket(socket.AF_INET) as sock:
        leave_by(sock, Egress(mark=7), TO_LOOPBACK)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 7


@pytest.mark.parametrize(
    ("egress", "problem"),
    [
        (Egress(interface="nosuch0"), "interface nosuch0: no such device"),
        (Egress((Address("192.0.2.99", 0),)), "source 192.0.2.99: cannot assign requested address"),
        (Egress((Address("::1", 0),)), "source ::1: of another family than 127.0.0.1:80"),
    ],
)
def test_what_a_socket_cannot_leave_by(egress: Egress, problem: str) -> None:
    with tcp_socket(socket.AF_INET) as sock, pytest.raises(EgressError) as caught:
        leave_by(sock, egress, TO_LOOPBACK)
    assert caught.value.strerror == problem


def test_a_socket_for_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    with unix_socket() as sock:
        assert sock.family is socket.AF_UNIX
        assert not sock.getblocking()
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(OSError, match="not supported"):
        unix_socket()
