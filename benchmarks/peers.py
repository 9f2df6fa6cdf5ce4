"""The SOCKS servers that are measured: ours, and others that people use, as far as they are installed.

Each is started as its users would start it: its defaults, a log where it keeps one, no login. What a server needs
beyond a command line (a file, a key, a binary) is made in a temporary folder. None of them is a dependency of ours.
"""

from __future__ import annotations

import getpass
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import PATIENCE, CannotStart, Program, Running, find_program, free_address, open_programs
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.accounting import family

__all__ = ["OURS", "PEERS", "Peer", "open_ours", "open_peer"]

CIPHER = "aes128-gcm@openssh.com"
"""The cheapest one that OpenSSH has: this is about its SOCKS server."""

GO_PATH = Path("/usr/share/gocode")
"""Where Debian keeps the sources of Go libraries."""

OURS = "chainsocks"

Plan = Callable[[Path], Sequence[Program]]
"""Returns the programs to run; it may leave files in the folder for the next time."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A SOCKS5 server: its name, where it comes from, and how it is run."""

    name: str
    source: str
    """What to install."""
    plan: Plan
    programs: Sequence[str] = ()
    module: str = ""
    """The Python module that it is, if it is one, to be installed where the benchmarks are."""
    files: Sequence[Path] = ()
    descriptors: int = 2
    """File descriptors that a session takes, once bytes have gone both ways."""

    @property
    def missing(self) -> str:
        """What is not installed; empty when the server can be run."""
        lacks = [name for name in self.programs if not find_program(name)]
        lacks += [str(path) for path in self.files if not path.exists()]
        if self.module and not importlib.util.find_spec(self.module):
            lacks.append(self.module)
        return f"there is no {' and no '.join(lacks)} here ({self.source})" if lacks else ""


@contextmanager
def open_peer(peer: Peer, folder: Path) -> Iterator[Running]:
    """Run a server; it may keep files in `folder` for the next time.

    Raises:
        CannotStart: it does not come to accept connections.
    """
    own = folder / peer.name
    own.mkdir(exist_ok=True)
    with open_programs(lambda: peer.plan(own), own) as running:
        yield running


@contextmanager
def open_ours(
    folder: Path, *lines: str, workers: int = 1, address: Address | None = None, tls: str = ""
) -> Iterator[Running]:
    """Run our server, all workers of it, with `lines` in its configuration besides those of ``[server]``.

    It listens on `address`, or on one that is free; `tls` is the table for that. Otherwise as `open_peer`.
    """
    server = Peer(OURS, "", lambda own: _ours(own, *lines, workers=workers, address=address, tls=tls))
    with open_peer(server, folder) as running:
        deadline = time.monotonic() + PATIENCE
        while workers > 1 and len(family(running.pids[0])) <= workers:  # one suffices to accept a connection
            if time.monotonic() > deadline:
                raise CannotStart(f"{OURS}: fewer than {workers} workers after {PATIENCE:g} s")
            time.sleep(0.01)
        yield running


def _ours(folder: Path, *lines: str, workers: int = 1, address: Address | None = None, tls: str = "") -> list[Program]:
    listen, config = address or free_address(), folder / "chainsocks.toml"
    # Several workers would have a control process beside them, and all servers of a user the same control socket.
    where = f'{{ address = "{listen}", tls = {tls} }}' if tls else f'"{listen}"'
    server = ["[control]", 'socket = "off"', "[server]", f"listen = [{where}]", f"workers = {workers}"]
    config.write_text("\n".join([*server, *lines]) + "\n")
    return [Program([Path(sysconfig.get_path("scripts")) / "chainsocks", "serve", "-c", config], listen)]


def _microsocks(_: Path) -> list[Program]:
    address = free_address()
    return [Program([_path("microsocks"), "-i", address.host, "-p", str(address.port)], address)]


def _dante(folder: Path) -> list[Program]:
    address, config = free_address(), folder / "danted.conf"
    everybody = "{ from: 127.0.0.0/8 to: 127.0.0.0/8 }"
    accounts = ["user.privileged: root", "user.unprivileged: nobody"] if os.geteuid() == 0 else []
    lines = ["logoutput: stderr", f"internal: {address.host} port = {address.port}", "external: lo", *accounts]
    lines += ["clientmethod: none", "socksmethod: none", f"client pass {everybody}", f"socks pass {everybody}"]
    config.write_text("\n".join(lines) + "\n")
    return [Program([_path("danted"), "-f", config, "-p", folder / "danted.pid"], address)]


def _v2ray(folder: Path) -> list[Program]:
    address, config = free_address(), folder / "v2ray.json"
    inbound = {"protocol": "socks", "listen": address.host, "port": address.port, "settings": {"auth": "noauth"}}
    config.write_text(json.dumps({"inbounds": [inbound], "outbounds": [{"protocol": "freedom"}]}))
    return [Program([_path("v2ray"), "-config", config], address)]


def _siosocks(_: Path) -> list[Program]:
    address = free_address()
    where = ["--host", address.host, "--port", str(address.port)]
    return [Program([sys.executable, "-m", "siosocks", "--backend", "trio", *where], address)]


def _pproxy(_: Path) -> list[Program]:
    address = free_address()
    return [Program([sys.executable, "-m", "pproxy", "-l", f"socks5://{address}"], address)]


def _asyncio_socks_server(_: Path) -> list[Program]:
    address = free_address()
    where = ["--host", address.host, "--port", str(address.port)]
    return [Program([sys.executable, "-m", "asyncio_socks_server", *where], address)]


def _go(folder: Path) -> list[Program]:
    binary = folder / "socks5_server"
    if not binary.exists():
        source = Path(__file__).with_name("socks5_server.go")
        own = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
        subprocess.run([_path("go"), "build", "-o", binary, source], env=os.environ | own, check=True)
    address = free_address()
    return [Program([binary, str(address)], address)]


def _ssh(folder: Path) -> list[Program]:
    """``ssh -D`` to an sshd of its own: the two of them are the proxy."""
    host_key, user_key = folder / "host_key", folder / "user_key"
    for key in (host_key, user_key):
        if not key.exists():
            subprocess.run([_path("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd requires it; its service would make it
    far, near, config = free_address(), free_address(), folder / "sshd_config"
    lines = [f"ListenAddress {far}", f"HostKey {host_key}", f"Ciphers {CIPHER}", "PidFile none", "UsePAM no"]
    lines += [f"AuthorizedKeysFile {user_key}.pub", "StrictModes no", "PermitRootLogin yes"]
    lines += ["PasswordAuthentication no", "KbdInteractiveAuthentication no"]
    config.write_text("\n".join(lines) + "\n")
    options = ["BatchMode=yes", "IdentitiesOnly=yes", "ExitOnForwardFailure=yes", f"Ciphers={CIPHER}"]
    options += ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null"]
    client: list[str | Path] = [_path("ssh"), "-F", "none", "-N", "-i", user_key, "-D", str(near)]
    client += [*(f"-o{option}" for option in options), "-p", str(far.port), f"{getpass.getuser()}@{far.host}"]
    return [Program([_path("sshd"), "-D", "-e", "-f", config], far), Program(client, near)]


def _path(name: str) -> str:
    path = find_program(name)
    assert path, f"{name} is not installed: ask Peer.missing first"
    return path


PEERS = (
    Peer(OURS, "", _ours),
    Peer("microsocks", "apt install microsocks", _microsocks, ["microsocks"]),
    Peer("dante", "apt install dante-server", _dante, ["danted"]),
    Peer("v2ray", "apt install v2ray", _v2ray, ["v2ray"]),
    Peer(
        "go-socks5",
        "apt install golang-go golang-github-armon-go-socks5-dev",
        _go,
        ["go"],
        files=[GO_PATH / "src/github.com/armon/go-socks5"],
        descriptors=6,  # two sockets, and a pipe to splice through for each direction, which it keeps
    ),
    Peer("siosocks", "pip install siosocks", _siosocks, module="siosocks"),
    Peer("pproxy", "pip install pproxy", _pproxy, module="pproxy"),
    Peer(
        "asyncio-socks-server", "pip install asyncio-socks-server", _asyncio_socks_server, module="asyncio_socks_server"
    ),
    Peer("ssh-D", "apt install openssh-client openssh-server", _ssh, ["ssh", "sshd", "ssh-keygen"]),
)
"""All servers, in the order in which they are measured and shown: ours first, since the ratios refer to it."""
