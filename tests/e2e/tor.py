"""tor without a network: it listens, names and refuses as it always does, and tells its controller of each stream."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.programs import PATIENCE, Program, SocketAddress, find_program

VIRTUAL = "10.192.0.0/10"
"""Where tor puts the names that it maps by itself."""

GIVES_UP = 1
"""Seconds that tor keeps a stream for which there is no circuit."""


@contextmanager
def running_tor(directory: Path, *options: str) -> Iterator[Program]:
    """Run a tor that never leaves this machine: the only relay that it may talk to is one of its `options`."""
    path = find_program("tor", "tor")
    directory.chmod(0o700)  # or tor does not put its files there
    config = directory / "torrc"
    fixed = ["UseBridges 1", "UseDefaultFallbackDirs 0", "OutboundBindAddress 127.0.0.1"]
    fixed += [f"DataDirectory {directory / 'data'}", "SocksPort 127.0.0.1:auto ExtendedErrors NoPreferIPv6Automap"]
    config.write_text("\n".join([*fixed, *options]) + "\n")
    program = Program([path, "--defaults-torrc", directory / "none", "--ignore-missing-torrc", "-f", config])
    try:
        yield program
    finally:
        program.stop()
        print(program.said)  # noqa: T201  (pytest shows it with the failure)


@dataclass(frozen=True)
class Tor:
    """Where it listens."""

    address: SocketAddress
    control: Path

    @property
    def url(self) -> str:
        """Itself as a hop."""
        return f"socks5://{self.address[0]}:{self.address[1]}"


@contextmanager
def real_tor(directory: Path) -> Iterator[Tor]:
    """Run tor for clients; its one way into its network is a closed port of this machine."""
    control = directory / "control"
    options = ["Bridge 127.0.0.1:1", f"SocksTimeout {GIVES_UP}"]
    options += [f"ControlSocket {control}", "CookieAuthentication 0"]
    options += ["AutomapHostsOnResolve 1", "AutomapHostsSuffixes .onion,.mapped", f"VirtualAddrNetworkIPv4 {VIRTUAL}"]
    with running_tor(directory, *options) as program:
        port = program.wait_for(r"Socks listener listening on port (\d+)")[1]
        program.wait_for("Opened Control listener")
        yield Tor(("127.0.0.1", int(port)), control)


class Controller:
    """A connection to tor's control port, on which it tells of each stream that clients open."""

    def __init__(self, control: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(PATIENCE)
        self._sock.connect(str(control))
        self._lines = self._sock.makefile("r", encoding="ascii", newline="\r\n")
        for command in ("AUTHENTICATE", "SETEVENTS STREAM"):
            self._sock.sendall(f"{command}\r\n".encode())
            assert self._lines.readline() == "250 OK\r\n"

    def next_login(self) -> tuple[str, str]:
        """Wait for the next stream of a client; return the login that it is separated by."""
        while line := self._lines.readline():
            if " NEW " in line and "PURPOSE=USER" in line:
                match = re.search(r'SOCKS_USERNAME="([^"]*)" SOCKS_PASSWORD="([^"]*)"', line)
                assert match, line
                assert "ISO_FIELDS=SOCKS_USERNAME,SOCKS_PASSWORD," in line
                return match[1], match[2]
        raise AssertionError("tor has ended")

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._sock.close()
