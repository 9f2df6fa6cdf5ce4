"""A network of our own for a benchmark: clients and a server at addresses beyond loopback, and a name server.

1. `enter` starts the program again in network and mount namespaces of its own (unshare(1)). These are the clients'.
2. `open_link` makes one more network namespace for the server, with a link to it (ip(8)).
3. All of it is gone with the last of its processes; nothing of the machine is changed.

The addresses are those that RFC 2544 reserves for benchmarks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ATTACKER", "CLIENT", "SERVER", "SILENT", "CannotIsolate", "enter", "open_link", "use_name_server"]

SERVER, CLIENT, ATTACKER, SILENT = (f"198.18.0.{number}" for number in range(1, 5))
"""Nothing answers at `SILENT`."""

LENGTH = 24

LINK_ADDRESS = "02:00:00:00:00:01"

INSIDE = "CHAINSOCKS_BENCHMARK_LAB"

NEEDED = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "ip": "iproute2"}


class CannotIsolate(Exception):
    """Namespaces cannot be had on this system, or by this user."""


def enter(module: str, arguments: Sequence[str]) -> None:
    """Return inside of the clients' namespaces; outside, start `module` there in the place of this process.

    Raises:
        CannotIsolate: that is not possible here.
    """
    if INSIDE in os.environ:
        return
    if missing := [f"{name} ({package})" for name, package in NEEDED.items() if not shutil.which(name)]:
        raise CannotIsolate(f"there is no {', no '.join(missing)} here")
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = ["unshare", *as_root, "--net", "--mount"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise CannotIsolate(f"no namespaces can be made: {tried.stderr.strip()}")
    os.environ[INSIDE] = "yes"
    os.execvp("unshare", [*unshare, sys.executable, "-m", module, *arguments])


@contextmanager
def open_link() -> Iterator[Sequence[str]]:
    """Link the clients' namespace to one for the server; yield the beginning of a command line that runs there.

    Raises:
        CannotIsolate: the link cannot be made.
    """
    holder = ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec cat"]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        there = ["nsenter", f"--net=/proc/{process.pid}/ns/net"]
        _run("ip", "link", "set", "lo", "up")
        peer = ("peer", "name", "server", "netns", str(process.pid))
        _run("ip", "link", "add", "clients", "address", LINK_ADDRESS, "type", "veth", *peer)
        for address in (CLIENT, ATTACKER):
            _run("ip", "addr", "add", f"{address}/{LENGTH}", "dev", "clients")
        _run(*there, "ip", "addr", "add", f"{SERVER}/{LENGTH}", "dev", "server")
        _run("ip", "link", "set", "clients", "up")
        _run(*there, "ip", "link", "set", "server", "up")
        # Packets for it arrive, and nothing answers. Without a neighbour the kernel would report an unreachable host.
        _run(*there, "ip", "neigh", "add", SILENT, "lladdr", LINK_ADDRESS, "dev", "server")
        yield there
        process.communicate()


def use_name_server(host: str, folder: Path) -> None:
    """Have this process, and those that it starts, ask the name server at `host`, with the defaults of the resolver.

    Raises:
        CannotIsolate: the machine has no file that says which one to ask.
    """
    config = folder / "resolv.conf"
    config.write_text(f"nameserver {host}\n")
    _run("mount", "--bind", str(config), "/etc/resolv.conf")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotIsolate(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
