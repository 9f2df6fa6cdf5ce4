"""Sockets that a service manager has passed; here the tests open them."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from chainsocks.config.choices import NamesOnly
from chainsocks.config.listeners import Listener, SystemdSocket, UnixPath
from chainsocks.config.models import Config, Server
from chainsocks.net.activation import Activation, activation, real_address
from chainsocks.net.listeners import open_listeners
from chainsocks.net.rearranging import rearranged
from chainsocks.net.sharing import listen_beside, reserve_listeners
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, descriptors

FIRST = 700
"""Where the tests have them, since 3 is in use."""


@contextmanager
def passed(*sockets: socket.socket, names: str | None = None, pid: int | None = None) -> Iterator[Activation]:
    """Pass sockets to this process as systemd does, and close them at the end."""
    for index, sock in enumerate(sockets):
        fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, FIRST + index)
    environment = {"LISTEN_FDS": str(len(sockets)), "LISTEN_PID": str(os.getpid() if pid is None else pid), "A": "b"}
    if names is not None:
        environment["LISTEN_FDNAMES"] = names
    taken = Activation()
    taken.take(environment, FIRST)
    assert environment == {"A": "b"}, "they are for no other program"
    try:
        yield taken
    finally:
        taken.close()
        for index in range(len(sockets)):
            try:
                os.close(FIRST + index)
            except OSError:
                pass  # it was taken over


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as sock:
        yield sock


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        yield sock


def test_sockets_have_the_names_of_their_units(listening: socket.socket, unix: socket.socket) -> None:
    before = descriptors()
    with passed(listening, unix, listening, names="web:local:web") as taken, ExitStack() as stack:
        copies = [*taken.copies("web", stack)]
        assert [each.getsockname() for each in copies] == [listening.getsockname()] * 2
        assert [each.getsockname() for each in taken.copies("local", stack)] == [unix.getsockname()]
        for each in copies:
            assert (each.gettimeout(), each.get_inheritable()) == (0, False)
            assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert descriptors() == before


@pytest.mark.parametrize("names", [None, "", ":"])
def test_without_a_name_they_are_called_unknown(listening: socket.socket, names: str | None) -> None:
    with passed(listening, names=names) as taken, ExitStack() as stack:
        assert len([*taken.copies("unknown", stack)]) == 1


NOT_ACTIVATED = "the server was not started by a socket unit, which would pass it a socket of this name"


@pytest.mark.parametrize(
    ("names", "pid", "problem"),
    [
        ("a:b", None, "no socket of this name was passed, as by FileDescriptorName= in a socket unit; passed: a, b"),
        ("a:b", 1, NOT_ACTIVATED),
    ],
)
def test_what_was_not_passed(listening: socket.socket, names: str, pid: int | None, problem: str) -> None:
    with passed(listening, listening, names=names, pid=pid) as taken, ExitStack() as stack:
        with pytest.raises(OSError) as caught:  # noqa: PT011  (its text is looked at)
            [*taken.copies("web", stack)]
        assert (caught.value.errno, caught.value.strerror) == (errno.ENOENT, problem)


def test_without_any_environment() -> None:
    taken = Activation()
    taken.take({})
    with ExitStack() as stack, pytest.raises(OSError, match=NOT_ACTIVATED):
        [*taken.copies("web", stack)]


@pytest.mark.parametrize("kind", ["datagram", "connected"])
def test_a_socket_that_accepts_nothing(kind: str) -> None:
    one, other = socket.socketpair(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
    needs = pytest.raises(OSError, match="needs ListenStream= and Accept=no")
    with one, other, passed(one, names="web") as taken, ExitStack() as stack, needs:
        [*taken.copies("web", stack)]


def test_a_file_is_passed_over(listening: socket.socket, tmp_path: Path) -> None:
    with (tmp_path / "f").open("w") as file, socket.socket() as placeholder:
        os.dup2(file.fileno(), placeholder.fileno())
        with passed(placeholder, listening, names="file:web") as taken:
            assert [*taken.sockets] == ["web"]


def test_their_addresses_decide_who_can_reach_them(unix: socket.socket) -> None:
    by_name = [Listener(SystemdSocket(name)) for name in ("public", "local", "unix", "none")]
    config = Config(Server(listen=(*by_name, Listener(Address(LOOPBACK, 1)))))
    assert config.exposed == ()
    public, local = socket.create_server(("0.0.0.0", 0)), socket.create_server((LOOPBACK, 0))
    with public, local, passed(public, local, unix, names="public:local:unix") as taken:
        exposed = taken.with_addresses(config).exposed
        assert [str(each) for each in exposed] == [f"0.0.0.0:{public.getsockname()[1]}"]


def test_the_address_of_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("\0chainsocks-test-activation")
        listener = Listener(SystemdSocket("web"), names_only=NamesOnly.REFUSE)
        assert real_address(listener, sock) == Listener(
            UnixPath("@chainsocks-test-activation"), names_only=NamesOnly.REFUSE
        )


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, listening: socket.socket) -> Iterator[Listener]:
    """A listener by its name, whose socket was passed to this process."""
    with passed(listening, names="web") as taken:
        monkeypatch.setattr(activation, "sockets", taken.sockets)
        yield Listener(SystemdSocket("web"))


def accepts(sock: socket.socket) -> bool:
    with socket.create_connection(sock.getsockname()):
        sock.accept()[0].close()
    return True


def test_a_listener_by_its_name(web: Listener, listening: socket.socket) -> None:
    before = descriptors()
    for _ in range(2):
        with open_listeners([web]) as [opened]:
            assert opened.sock.getsockname() == listening.getsockname()
            assert opened.terms == Listener(Address(*listening.getsockname()))
            assert accepts(opened.sock)
    assert descriptors() == before
    with pytest.raises(OSError) as caught, open_listeners([Listener(SystemdSocket("other"))]):  # noqa: PT011
        pass
    assert caught.value.filename == "systemd:other"


def test_several_processes_share_its_queue(web: Listener) -> None:
    with reserve_listeners([web]) as reserved, listen_beside(reserved) as [one], listen_beside(reserved) as [other]:
        assert accepts(one.sock)
        assert accepts(other.sock)


def test_a_reload_keeps_it_leaves_it_out_and_takes_it_again(web: Listener) -> None:
    with open_listeners([web]) as current:
        strict = Listener(web.address, names_only=NamesOnly.REFUSE)
        with rearranged(current, [strict]) as kept:
            assert [each.sock for each in kept] == [current[0].sock]
            assert kept[0].terms.names_only is NamesOnly.REFUSE
        with rearranged(current, []) as none:
            assert none == []
        with rearranged([], [web]) as [again]:
            assert accepts(again.sock)
            again.close()
