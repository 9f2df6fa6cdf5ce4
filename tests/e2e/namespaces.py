"""Network namespaces, and links to them, for what loopback cannot show. They need root and ip(8)."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest


@dataclass(frozen=True)
class Link:
    """A link from the interface `name` to `eth0` in the namespace `name`."""

    name: str
    problems: list[BaseException] = field(default_factory=list)

    def run_there(self, function: Callable[[], None]) -> None:
        """Run a function at the other end of the link."""

        def enter() -> None:
            try:
                with open(f"/run/netns/{self.name}") as namespace:  # noqa: PTH123
                    assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0
                function()
            except BaseException as error:  # noqa: BLE001
                self.problems.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if self.problems:
            raise self.problems[0]

    def cut(self) -> None:
        """Take it down, as if a cable were pulled."""
        run("link", "set", self.name, "down")


def run(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def linked_namespace(here: str, there: str) -> Iterator[Link]:
    """Make a namespace with the address `there`, both as address/prefix length, and a link to `here`."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root and ip(8), for a network namespace")
    name = f"cs{os.getpid()}"
    try:
        run("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr}")
    nodad = ("nodad",) if ":" in here else ()  # IPv6 only: the address can be used at once
    try:
        run("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("addr", "add", here, "dev", name, *nodad)
        run("link", "set", name, "up")
        run("-n", name, "addr", "add", there, "dev", "eth0", *nodad)
        run("-n", name, "link", "set", "eth0", "up")
        yield Link(name)
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)  # a namespace takes its time
        run("netns", "del", name)
