"""The namespaces of a program: its user, its network, its listeners, and what it may no more."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from chainsocks.namespace import enter as module
from chainsocks.namespace.enter import Inside, NamespaceError, enter
from tests.namespace.inside import run_inside

WITHIN = """
import ctypes
def attempt(function):
    try: return function()
    except OSError as error: return error.errno
def call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if getattr(libc, name)(*arguments) else 0
family, kind = socket.AF_INET, socket.SOCK_STREAM
stream, names, questions = (each[0].getsockname() for each in (inside.streams, inside.names, inside.questions))
for each in inside.sockets: each.listen() if each.type == kind else None
confine()
after = open("/proc/self/status").read()
def local(host, port, within=family):
    with socket.socket(within, kind) as sock:
        sock.settimeout(5)
        return attempt(lambda: sock.connect((host, port))) or 0
def through(host, within=family, listener=0):
    with socket.socket(within, kind) as sock:
        sock.settimeout(5)
        sock.connect((host, 443))
        connection, peer = inside.streams[listener].accept()
        with connection:
            level, size = ((0, 16), (41, 28))[within == socket.AF_INET6]
            return [peer[0], connection.getsockopt(level, 80, size).hex()]
def datagram(host, port):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((host, port))
        sock.send(b"x")
        return attempt(lambda: sock.recv(1))
found = {
    "user": [os.getuid(), os.getgid()],
    "interfaces": [name for _, name in socket.if_nameindex()],
    "ports": [names[1] == questions[1], stream[0]],
    "through": through("192.0.2.80"),
    "through6": through("2001:db8::80", socket.AF_INET6, 1) if len(inside.streams) > 1 else None,
    "local": local("127.0.0.1", 9),
    "datagram": datagram("192.0.2.80", 443),
    "vsock": attempt(lambda: socket.socket(40, kind)),
    "bluetooth": attempt(lambda: socket.socket(31, kind)),
    "io_uring": call("syscall", 425, 1, 0),
    "capabilities": [line.split()[1] for line in after.splitlines() if line.startswith("CapBnd")],
    "terminal": attempt(lambda: __import__("fcntl").ioctl(0, 0x5412, b"x")),
}
"""


def test_a_program_inside() -> None:
    found = run_inside(WITHIN)
    assert found["user"] == [os.getuid(), os.getgid()]
    assert found["interfaces"] == ["lo"]
    assert found["ports"] == [True, "127.198.18.1"]
    peer, destination = found["through"]
    assert peer == "127.0.0.1"
    assert destination[4:16] == "01bb" + socket.inet_aton("192.0.2.80").hex()
    if found["through6"]:
        peer, destination = found["through6"]
        assert peer == "::1"
        assert destination[4:8] == "01bb"
        assert destination[16:48] == socket.inet_pton(socket.AF_INET6, "2001:db8::80").hex()
    assert found["local"] == errno.ECONNREFUSED
    assert found["datagram"] == errno.ECONNREFUSED
    assert found["vsock"] == found["bluetooth"] == errno.EAFNOSUPPORT
    assert found["io_uring"] == errno.ENOSYS
    assert found["terminal"] in (errno.EPERM, errno.ENOTTY)
    assert int(found["capabilities"][0], 16) == 0


def test_the_sockets_are_told_apart_by_their_order() -> None:
    sockets = [socket.socket() for _ in range(8)]
    inside = Inside.of(sockets)
    assert inside.sockets == tuple(sockets)
    assert (inside.streams, inside.names, inside.questions, inside.datagrams) == tuple(
        tuple(sockets[first : first + 2]) for first in (0, 2, 4, 6)
    )
    for each in sockets:
        each.close()


@pytest.mark.parametrize(
    ("number", "switches", "remedy"),
    [
        (errno.EPERM, {"userns": ("0", "0")}, "root can change that: do this"),
        (errno.ENOSPC, {}, "as user.max_user_namespaces allows"),
        (errno.EPERM, {"userns": ("0", "1")}, "docker run --security-opt seccomp=unconfined"),
        (errno.EPERM, {"userns": ("0", None)}, "docker run --security-opt seccomp=unconfined"),
    ],
)
def test_a_machine_without_namespaces_says_what_would_help(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    number: int,
    switches: dict[str, tuple[str, str | None]],
    remedy: str,
) -> None:
    def refuse(flags: int) -> None:
        raise OSError(number, os.strerror(number))

    table = {}
    for name, (closed, value) in switches.items():
        if value is not None:
            (tmp_path / name).write_text(f"{value}\n")
        table[str(tmp_path / name)] = closed, "do this"
    monkeypatch.setattr(module, "unshare", refuse)
    monkeypatch.setattr(module, "_SWITCHES", table)
    with pytest.raises(NamespaceError, match=remedy) as caught:
        enter()
    assert str(caught.value).startswith(f"this machine does not let its users make namespaces ({os.strerror(number)})")


def test_what_fails_inside_is_named() -> None:
    lines = """
from chainsocks.namespace import enter as module
def fail(*_): raise OSError(13, "no", "/run/dbus")
module.cover = module.load_filter = fail
found = []
for function in (module.enter, module.confine):
    try: function()
    except module.NamespaceError as error: found.append(str(error))
"""
    found = run_inside(lines)
    assert found == ["no network of its own: /run/dbus: no", "system calls that lead outside cannot be refused: no"]
