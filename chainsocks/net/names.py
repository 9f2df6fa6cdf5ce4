"""Name lookups by this machine's resolver, both ways. They block: `chainsocks.server.resolver` has threads for them.

Also what the machine's files say: which names the hosts file has, and when a lookup may have another answer.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

__all__ = ["SystemFiles", "addresses_of", "is_numeric", "name_of"]

_FILES = "resolv.conf", "hosts", "nsswitch.conf"

_CHECK_INTERVAL = 1
"""Seconds between two checks of the files."""


def addresses_of(name: bytes, family: int) -> list[str]:
    """Look a name up; return its addresses in the resolver's order, each as its `Address.zoned`.

    Raises:
        socket.gaierror: the name has no address.
    """
    return [_zoned(sockaddr) for *_, sockaddr in socket.getaddrinfo(name, 0, family, socket.SOCK_STREAM)]


def _zoned(sockaddr: tuple[Any, ...]) -> str:
    return f"{sockaddr[0]}%{sockaddr[3]}" if len(sockaddr) == 4 and sockaddr[3] else str(sockaddr[0])


def name_of(host: bytes) -> str:
    """Look up the name of an IP address.

    Raises:
        OSError: it has no name.
    """
    name, _ = socket.getnameinfo((host.decode("ascii"), 0), socket.NI_NAMEREQD)
    return name


def is_numeric(name: bytes) -> bool:
    """Whether the resolver takes a name for an IP address, in whatever spelling, so that it asks no server."""
    if b":" not in name and not name[name.rfind(b".") + 1 :][:1].isdigit():
        return False
    try:
        socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    return True


class SystemFiles:
    """The files below `root` that decide how names are looked up."""

    def __init__(self, root: Path = Path("/etc")) -> None:
        self._root = root
        self._checked: float | None = None
        self._state: list[tuple[int, int, int] | None] = []
        self._hosts = frozenset[bytes]()

    def have_changed(self, now: float) -> bool:
        """Whether one of the files has changed since the last call. It looks at most once a second."""
        if self._checked is not None and now < self._checked + _CHECK_INTERVAL:
            return False
        self._checked = now
        state = [_state_of(self._root / name) for name in _FILES]
        if state == self._state:
            return False
        self._state = state
        self._hosts = self._read_hosts()
        return True

    def is_in_hosts(self, name: bytes) -> bool:
        """Whether the hosts file has a name, in lower case, and the resolver reads that file before all else."""
        return name in self._hosts

    def _read_hosts(self) -> frozenset[bytes]:
        try:
            if _first_source((self._root / "nsswitch.conf").read_bytes()) != b"files":
                return frozenset()
            lines = (self._root / "hosts").read_bytes().splitlines()
        except OSError:
            return frozenset()
        names = set[bytes]()
        for line in lines:
            address, *others = line.partition(b"#")[0].split() or [b""]
            if _is_address(address):
                names.update(name.lower() for name in others)
        return frozenset(names)


def _first_source(nsswitch: bytes) -> bytes:
    for line in nsswitch.splitlines():
        database, _, sources = line.partition(b"#")[0].partition(b":")
        if database.strip() == b"hosts":
            return (sources.split() or [b""])[0]
    return b""


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  (half the time of Path.stat)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_address(text: bytes) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text.decode("ascii"))
        except (OSError, ValueError):
            continue
        return True
    return False
