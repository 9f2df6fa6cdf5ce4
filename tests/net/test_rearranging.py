"""Listeners that change: which sockets stay, on real loopback."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chainsocks.config.choices import NamesOnly
from chainsocks.config.listeners import Listener, ListenerKind, UnixPath
from chainsocks.net.listeners import OpenListener, open_listeners
from chainsocks.net.rearranging import rearranged
from chainsocks.protocol.address import Address
from tests.net.sockets import LOOPBACK, descriptors, free_port

ANY_PORT = Listener(Address(LOOPBACK, 0))
STRICT = NamesOnly.REFUSE


def at(host: str, port: int) -> Listener:
    return Listener(Address(host, port))


def sockets(opened: Sequence[OpenListener]) -> list[socket.socket]:
    return [each.sock for each in opened]


@contextmanager
def changed(current: Sequence[OpenListener], *wanted: Listener) -> Iterator[list[OpenListener]]:
    """Change listeners as a server does, and close the new ones at the end."""
    with rearranged(current, wanted) as arranged:
        pass
    new = [each for each in arranged if each.sock not in sockets(current)]
    try:
        for each in current:
            if each.sock not in sockets(arranged):
                each.close()
        for each in new:
            each.listen()
        yield arranged
    finally:
        for each in new:
            each.close()


def accepts(opened: OpenListener) -> bool:
    """Whether a listener receives a connection to its address."""
    with socket.socket(opened.sock.family) as client:
        client.connect(opened.sock.getsockname())
        opened.sock.accept()[0].close()
    return True


def test_a_listener_that_stays_keeps_its_socket_whatever_else_is_said_of_it() -> None:
    other = at("127.0.0.2", 0)
    with open_listeners([ANY_PORT, other]) as current:
        strict = replace(ANY_PORT, names_only=STRICT)
        with changed(current, other, strict) as arranged:
            assert sockets(arranged) == sockets(current)[::-1]
            assert [each.listener for each in arranged] == [other, strict]


def test_of_several_at_port_0_each_keeps_its_own() -> None:
    strict, loose = replace(ANY_PORT, names_only=STRICT), replace(ANY_PORT, names_only=NamesOnly.WARN)
    with open_listeners([ANY_PORT, strict, loose]) as current, changed(current, loose, strict) as arranged:
        assert sockets(arranged) == [current[2].sock, current[1].sock]


def test_others_are_opened_and_left_out(tmp_path: Path) -> None:
    gone, new = Listener(UnixPath(str(tmp_path / "gone"))), Listener(UnixPath(str(tmp_path / "new")))
    with open_listeners([ANY_PORT, gone]) as current:
        with changed(current, ANY_PORT, at("127.0.0.2", 0), new) as arranged:
            assert arranged[0].sock is current[0].sock
            assert all(map(accepts, arranged))
            assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]
        assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["localhost", "here.example"])
def test_a_name_for_the_same_address_is_the_same_listener(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    port = free_port()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port))]
    with open_listeners([at(LOOPBACK, port)]) as current:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with changed(current, at(name, port)) as arranged:
            assert sockets(arranged) == sockets(current)
            assert [each.listener for each in arranged] == [at(name, port)]


@pytest.mark.parametrize(("before", "after"), [("0.0.0.0", LOOPBACK), (LOOPBACK, "0.0.0.0")])
def test_an_address_that_covers_another_one_can_take_its_place(before: str, after: str) -> None:
    port = free_port()
    with open_listeners([at(before, port)]) as current, changed(current, at(after, port)) as arranged:
        assert [each.sock.getsockname() for each in arranged] == [(after, port)]
        assert all(map(accepts, arranged))
        with pytest.raises(OSError, match="in use"), open_listeners([at(after, port)]):
            pass


def test_what_is_in_use_elsewhere_changes_nothing(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken, open_listeners([ANY_PORT]) as current:
        before = descriptors()
        wanted = [at("127.0.0.2", 0), Listener(UnixPath(str(tmp_path / "s"))), at(*taken.getsockname())]
        with pytest.raises(OSError) as caught, rearranged(current, wanted):  # noqa: PT011  (its number is looked at)
            pass
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, str(wanted[2]))
        assert (descriptors(), [*tmp_path.iterdir()]) == (before, [])
        assert accepts(current[0])


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_mode_of_a_unix_socket_changes(tmp_path: Path) -> None:
    path = tmp_path / "s"
    private, public, usual = (Listener(UnixPath(str(path)), mode=mode) for mode in (0o600, 0o666, None))
    with open_listeners([private]) as current, changed(current, public) as now:
        assert (sockets(now), mode_of(path)) == (sockets(current), 0o666)
        with changed(now, usual) as now:
            umask = os.umask(0o77)
            os.umask(umask)
            assert mode_of(path) == 0o777 & ~umask


@pytest.mark.parametrize("trouble", ["a group that is not there", "an address in use"])
def test_a_failure_gives_a_unix_socket_its_mode_back(tmp_path: Path, trouble: str) -> None:
    path = tmp_path / "s"
    private = Listener(UnixPath(str(path)), mode=0o600)
    with socket.create_server((LOOPBACK, 0)) as taken, open_listeners([private]) as current:
        wanted = [replace(private, mode=0o666)]
        if trouble == "an address in use":
            wanted.append(at(*taken.getsockname()))
        else:
            wanted[0] = replace(wanted[0], group="nonesuch")
        with pytest.raises(OSError, match=r"in use|no group"), rearranged(current, wanted):
            pass
        assert mode_of(path) == 0o600


def test_a_block_that_fails_closes_the_new_ones(tmp_path: Path) -> None:
    with open_listeners([ANY_PORT]) as current:
        before = descriptors()
        wanted = [at("127.0.0.2", 0), Listener(UnixPath(str(tmp_path / "s")))]
        with pytest.raises(ZeroDivisionError), rearranged(current, wanted):
            raise ZeroDivisionError
        assert (descriptors(), [*tmp_path.iterdir()]) == (before, [])
        assert accepts(current[0])


@pytest.mark.parametrize("port", [0, None], ids=["any port", "a port"])
def test_a_udp_port_comes_and_goes_with_the_kind(port: int | None) -> None:
    """The TCP socket stays."""
    plain = ANY_PORT if port == 0 else at(LOOPBACK, free_port())
    names = replace(plain, kind=ListenerKind.DNS)
    with open_listeners([plain]) as current, changed(current, names) as arranged:
        assert [each.is_udp for each in arranged] == [False, True]
        assert arranged[0].sock is current[0].sock
        assert arranged[1].sock.getsockname() == arranged[0].sock.getsockname()
        with changed(arranged, replace(names, names_only=STRICT)) as same:
            assert sockets(same) == sockets(arranged)
        with changed(arranged, plain) as back:
            assert sockets(back) == sockets(current)
            assert arranged[1].sock.fileno() == -1


def test_a_udp_port_that_is_in_use_changes_nothing() -> None:
    plain = at(LOOPBACK, free_port())
    with open_listeners([plain]) as current, socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(current[0].sock.getsockname())
        with pytest.raises(OSError, match="in use") as caught, changed(current, replace(plain, kind=ListenerKind.DNS)):
            pass
        assert caught.value.filename == str(plain)
        assert accepts(current[0])


def test_a_name_for_the_same_address_keeps_its_udp_port(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    one, other = (Listener(Address(host, port), ListenerKind.DNS) for host in (LOOPBACK, "here.example"))
    with open_listeners([one]) as current:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with changed(current, other) as arranged:
            assert sockets(arranged) == sockets(current)
