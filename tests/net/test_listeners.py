"""Listening sockets, on real loopback and in real directories."""

from __future__ import annotations

import errno
import os
import select
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chainsocks.config.choices import NamesOnly
from chainsocks.config.listeners import ListenAddress, Listener, UnixPath
from chainsocks.net.listeners import open_listeners
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, LOOPBACK6, descriptors, free_port, needs_ipv6

ANYWHERE, ANYWHERE6 = "0.0.0.0", "::"

# --- TCP


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        pytest.param(LOOPBACK, "127.0.0.1", id="ipv4"),
        pytest.param(LOOPBACK6, "[::1]", id="ipv6", marks=needs_ipv6),
    ],
)
def test_port_0_is_a_port_of_the_kernels_choice(host: str, shown: str) -> None:
    with open_listeners([Listener(Address(host, 0))]) as [opened]:
        port = opened.sock.getsockname()[1]
        assert port != 0
        assert str(opened) == f"{shown}:{port}"
        greet(opened.sock)


def test_a_port_that_was_asked_for() -> None:
    port = free_port()
    with open_listeners([Listener(Address(LOOPBACK, port))]) as [opened]:
        assert str(opened) == f"{LOOPBACK}:{port}"


def test_all_listeners_are_opened_in_their_order(tmp_path: Path) -> None:
    first, second, third = Address(LOOPBACK, free_port()), UnixPath(str(tmp_path / "s")), Address(LOOPBACK, 0)
    listeners = [Listener(first), Listener(second, names_only=NamesOnly.WARN), Listener(third)]
    with open_listeners(listeners) as opened:
        assert [str(each) for each in opened[:2]] == [str(first), str(second)]
        assert [each.listener for each in opened] == listeners
        for each in opened:
            greet(each.sock)


def test_no_listeners_at_all() -> None:
    with open_listeners([]) as opened:
        assert opened == []


def test_a_name_is_listened_on_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.2", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    listener = Listener(Address("here.example", 0), names_only=NamesOnly.REFUSE)
    with open_listeners([listener]) as opened:
        assert [each.sock.getsockname()[0] for each in opened] == ["127.0.0.1", "127.0.0.2"]
        assert [each.listener for each in opened] == [listener, listener]


def resolved_to(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Have every name lead to these IP addresses."""

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        families = [socket.AF_INET6 if ":" in each else socket.AF_INET for each in hosts]
        names = [(each, port, 0, 0) if ":" in each else (each, port) for each in hosts]
        return [(family, socket.SOCK_STREAM, 6, "", name) for family, name in zip(families, names, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("missing", ["2001:db8::1", "192.0.2.1"])
def test_addresses_of_a_name_that_the_machine_lacks_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    """As ::1 for localhost, in a container without IPv6."""
    resolved_to(monkeypatch, missing, LOOPBACK, LOOPBACK)
    with open_listeners([Listener(Address("localhost", 0))]) as [opened]:
        greet(opened.sock)
    [line] = caplog.messages
    assert line.startswith(f"localhost:0: this machine cannot listen on {missing}: ")


def test_a_machine_without_the_family_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def no_ipv6(family: int = -1, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest)

    resolved_to(monkeypatch, LOOPBACK6, LOOPBACK)
    monkeypatch.setattr(socket, "socket", no_ipv6)
    with open_listeners([Listener(Address("localhost", 0))]) as [opened]:
        assert str(opened).startswith("127.0.0.1:")


def test_a_name_without_any_address_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved_to(monkeypatch, "2001:db8::1", "192.0.2.1")
    before = descriptors()
    assert refused(Address("gone.example", 0)).filename == "gone.example:0"
    assert descriptors() == before


def test_an_address_of_a_name_that_is_in_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the clients would come to another program."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        resolved_to(monkeypatch, "127.0.0.2", LOOPBACK)
        assert refused(Address("localhost", taken.getsockname()[1])).errno == errno.EADDRINUSE


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_of_a_unix_socket_is_set_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "s"
    before = os.umask(0o077)
    try:
        with open_listeners([Listener(UnixPath(str(path)), mode=mode, group=str(os.getgid()))]) as [opened]:
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert path.stat().st_gid == os.getgid()
            greet(opened.sock)
    finally:
        os.umask(before)


def test_a_group_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = UnixPath(str(tmp_path / "s"))
    with (
        pytest.raises(OSError, match="this machine has no group nonesuch"),
        open_listeners([Listener(path, group="nonesuch")]),
    ):
        pass
    assert not (tmp_path / "s").exists()


def test_a_group_of_others_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chown(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(shutil, "chown", chown)
    path = UnixPath(str(tmp_path / "s"))
    with (
        pytest.raises(OSError, match="cannot give it to the group daemon"),
        open_listeners([Listener(path, group="daemon")]),
    ):
        pass


@needs_ipv6
@pytest.mark.parametrize("hosts", [(ANYWHERE, ANYWHERE6), (ANYWHERE6, ANYWHERE), (LOOPBACK, LOOPBACK6)])
def test_both_families_go_together_on_one_port(hosts: tuple[str, str]) -> None:
    port = free_port()
    with listening(*(Address(host, port) for host in hosts)) as sockets:
        assert [sock.getsockname()[:2] for sock in sockets] == [(host, port) for host in hosts]
        for host, sock in zip(hosts, sockets, strict=True):
            with socket.create_connection((LOOPBACK6 if ":" in host else LOOPBACK, port)):
                accept(sock).close()


def test_listeners_and_what_they_accept_neither_block_nor_delay_small_messages_nor_lose_urgent_bytes() -> None:
    with listening(Address(LOOPBACK, 0)) as [listener]:
        assert listener.gettimeout() == 0
        with socket.create_connection(listener.getsockname()):
            accepted = accept(listener)
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


def test_a_port_can_be_had_again_right_after_it_was_served() -> None:
    with listening(Address(LOOPBACK, 0)) as [listener]:
        port = listener.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)):
            accept(listener).close()  # closed by the serving side first: TIME_WAIT is ours
    with listening(Address(LOOPBACK, port)):
        pass


# --- what cannot be had


def test_an_address_in_use_is_named() -> None:
    with listening(Address(LOOPBACK, 0)) as [listener]:
        taken = Address(LOOPBACK, listener.getsockname()[1])
        error = refused(taken)
    assert (error.errno, error.filename, error.strerror) == (errno.EADDRINUSE, str(taken), "Address already in use")


def test_an_address_that_is_not_ours_is_named() -> None:
    elsewhere = Address("192.0.2.1", 1080)
    error = refused(elsewhere)
    assert (error.errno, error.filename) == (errno.EADDRNOTAVAIL, "192.0.2.1:1080")


def test_an_unknown_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def know_nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", know_nothing)
    error = refused(Address("nowhere.invalid", 1080))
    assert (error.strerror, error.filename) == ("Name or service not known", "nowhere.invalid:1080")


def test_what_was_opened_before_the_trouble_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = descriptors()
    refused(UnixPath(str(path)), Address(LOOPBACK, 0), Address("192.0.2.1", 1080))
    assert descriptors() == before
    assert not path.exists()


# --- unix sockets


def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with open_listeners([Listener(UnixPath(str(path)))]) as [opened]:
        assert str(opened) == f"unix:{path}"
        assert opened.sock.gettimeout() == 0
        greet(opened.sock)
        assert path.is_socket()
    assert not path.exists()


def test_a_unix_socket_that_was_removed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening(UnixPath(str(path))):
        path.unlink()


def test_what_a_killed_server_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    with listening(UnixPath(str(path))) as [listener]:
        greet(listener)


def test_a_unix_socket_that_is_served_is_left_alone(tmp_path: Path) -> None:
    address = UnixPath(str(tmp_path / "s"))
    with listening(address) as [listener]:
        error = refused(address)
        assert (error.errno, error.filename) == (errno.EADDRINUSE, str(address))
        assert error.strerror == "another server uses this socket"
        with suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()  # made by the refused one, to see whether the socket is served
        greet(listener)


def test_a_unix_socket_whose_server_is_too_busy_to_answer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))  # the backlog is full now, and a connect would wait
        error = refused(UnixPath(str(path)))
        assert error.errno == errno.EADDRINUSE
        assert path.is_socket()


def test_a_unix_socket_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        error = refused(UnixPath(str(path)))
        assert (error.errno, error.filename) == (errno.EPROTOTYPE, f"unix:{path}")
        assert path.is_socket()


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    error = refused(UnixPath(str(path)))
    assert (error.errno, error.filename) == (errno.EEXIST, f"unix:{path}")
    assert error.strerror == "a file of another kind is in the way"
    assert path.read_text() == "precious"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    address = UnixPath(str(tmp_path / "nowhere" / "s"))
    error = refused(address)
    assert (error.errno, error.filename) == (errno.ENOENT, str(address))


# --- helpers


@contextmanager
def listening(*addresses: ListenAddress) -> Iterator[list[socket.socket]]:
    """Listen at some addresses, and yield the sockets."""
    with open_listeners(map(Listener, addresses)) as opened:
        yield [each.sock for each in opened]


def refused(*addresses: ListenAddress) -> OSError:
    """Try to listen, and return the error."""
    with pytest.raises(OSError) as caught, listening(*addresses):  # noqa: PT011  (the tests look at its number)
        pass
    return caught.value


def greet(listener: socket.socket) -> None:
    """Connect to a listener, and check that it answers."""
    with socket.socket(listener.family) as client:
        client.connect(listener.getsockname())
        accepted = accept(listener)
        with accepted:
            accepted.send(b"hello")
            assert client.recv(100) == b"hello"


def accept(listener: socket.socket) -> socket.socket:
    """Wait for a connection, as the server does."""
    select.select([listener], [], [])
    return listener.accept()[0]
