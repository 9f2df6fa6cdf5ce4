"""Enter the namespaces, and open the listeners inside.

::

    unshare ─ own user id ─ loopback ─ listeners ─ rules ─ services covered ─ lookups replaced
                                           └─ handed to the process of the chain, which is outside

The process that enters becomes the program: `confine` takes its capabilities, so that the program cannot undo any of
it. The user and the group keep their numbers. Every other number shows as "nobody".
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chainsocks.errors import ChainsocksError
from chainsocks.namespace.calls import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    drop_capabilities,
    load_filter,
    unshare,
)
from chainsocks.namespace.files import cover, lookup_files, replace_files, services
from chainsocks.namespace.firewall import Ports, load_rules, rules_for
from chainsocks.namespace.loopback import OWN_IPV4, OWN_IPV6, bring_up
from chainsocks.namespace.seccomp import make_filter

__all__ = ["Inside", "NamespaceError", "confine", "enter", "ports_of"]

_OWN = {socket.AF_INET: OWN_IPV4, socket.AF_INET6: OWN_IPV6}
_TRANSPARENT = {
    socket.AF_INET: ((socket.IPPROTO_IP, 19), (socket.IPPROTO_IP, 20)),
    socket.AF_INET6: ((socket.IPPROTO_IPV6, 75), (socket.IPPROTO_IPV6, 74)),
}
"""IP_TRANSPARENT and IP_RECVORIGDSTADDR, and those of IPv6."""

_SWITCHES = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl kernel.unprivileged_userns_clone=1"),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl user.max_user_namespaces=10000"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for {python} that has `userns,`",
    ),
}
"""For each switch of the kernel, its value that keeps users from making namespaces, and what lets them."""


class NamespaceError(ChainsocksError):
    """The kernel does not make the namespace; the text says what would help."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The sockets that were opened inside; their holder closes them."""

    streams: tuple[socket.socket, ...]
    """Listening for the redirected connections, one for each family."""
    names: tuple[socket.socket, ...]
    """Listening for DNS over TCP."""
    questions: tuple[socket.socket, ...]
    """For DNS over UDP."""
    datagrams: tuple[socket.socket, ...] = ()
    """For all other UDP; the kernel says where each datagram was sent to."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """All of them, in the order of the fields."""
        return (*self.streams, *self.names, *self.questions, *self.datagrams)

    @classmethod
    def of(cls, sockets: Iterable[socket.socket]) -> Inside:
        """Return what has these `sockets`."""
        found = tuple(sockets)
        count = len(found) // 4
        return cls(*(found[place : place + count] for place in range(0, 4 * count, count)))


def enter(shared: Iterable[str] = ()) -> Inside:
    """Move this process, which has a single thread, into namespaces of its own, and open the listeners there.

    `shared` are paths that are not covered.

    Raises:
        NamespaceError: the kernel does not allow it, or something that it takes is missing.
    """
    host_name, covered, lookups = socket.gethostname(), services(os.environ), lookup_files()
    _become_own()
    try:
        families = bring_up()
        inside = _listen(families)
        load_rules(rules_for(ports_of(inside)))
        cover(covered, [*shared, *lookups])
        replace_files(host_name)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise NamespaceError(f"no network of its own: {where}{error.strerror or error}") from error
    return inside


def confine() -> None:
    """Take the capabilities that the namespace gave, and refuse the system calls that lead out of it.

    Raises:
        NamespaceError: the kernel does not allow it.
    """
    try:
        drop_capabilities()
        load_filter(make_filter())
    except OSError as error:
        raise NamespaceError(f"system calls that lead outside cannot be refused: {error.strerror or error}") from error


def _become_own() -> None:
    """Make the namespaces, with the user and the group under their own numbers.

    Raises:
        NamespaceError: the kernel does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1\n")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1\n")
    except OSError as error:
        raise NamespaceError(_why_not(error)) from error


def _why_not(error: OSError) -> str:
    """Say why there is no user namespace, and what to change as root."""
    text = f"this machine does not let its users make namespaces ({error.strerror})"
    for path, (closed, remedy) in _SWITCHES.items():
        try:
            value = Path(path).read_text().strip()
        except OSError:
            continue
        if value == closed:
            return f"{text}; root can change that: {remedy.format(python=os.path.realpath(sys.executable))}"
    if error.errno == errno.ENOSPC:
        return f"{text}; there are as many as user.max_user_namespaces allows, or they are too deep in each other"
    return f"{text}; in a container, its seccomp profile may forbid it: docker run --security-opt seccomp=unconfined"


def _listen(families: Iterable[socket.AddressFamily]) -> Inside:
    """Open the listeners, on ports of the kernel's choice; the one of DNS is the same for TCP and UDP.

    Raises:
        OSError: an address is not there.
    """
    streams, names, questions, datagrams = [], [], [], []
    for family in families:
        streams.append(_bound(family, socket.SOCK_STREAM, 0))
        names.append(_bound(family, socket.SOCK_STREAM, 0))
        questions.append(_bound(family, socket.SOCK_DGRAM, names[-1].getsockname()[1]))
        datagrams.append(_bound(family, socket.SOCK_DGRAM, 0))
        for option in _TRANSPARENT[family]:
            datagrams[-1].setsockopt(*option, 1)
    return Inside(tuple(streams), tuple(names), tuple(questions), tuple(datagrams))


def _bound(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> socket.socket:
    sock = socket.socket(family, kind)
    sock.bind((_OWN[family], port))
    return sock


def ports_of(inside: Inside) -> dict[socket.AddressFamily, Ports]:
    """Return the ports of the listeners of each family."""
    return {
        socket.AddressFamily(each[0].family): Ports(*(sock.getsockname()[1] for sock in each))
        for each in zip(inside.streams, inside.names, inside.datagrams, strict=True)
    }
