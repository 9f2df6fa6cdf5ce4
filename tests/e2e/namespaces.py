"""Network namespaces, and links to them, for what loopback cannot show. They need root and ip(8)."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest

ResultT = TypeVar("ResultT")


def enter(name: str) -> None:
    """Enter a network namespace, with this thread."""
    with open(f"/run/netns/{name}") as namespace:  # noqa: PTH123
        assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0


def run_in(name: str, function: Callable[[], ResultT]) -> ResultT:
    """Run a function in a network namespace; sockets that it opens stay there."""
    results: list[ResultT] = []
    problems: list[BaseException] = []

    def go() -> None:
        try:
            enter(name)
            results.append(function())
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return results[0]


@contextmanager
def namespaces(*suffixes: str) -> Iterator[list[str]]:
    """Make network namespaces with nothing in them but their loopback interface; yield their names."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root and ip(8), for network namespaces")
    names = [f"cs{os.getpid()}{suffix}" for suffix in suffixes]
    made: list[str] = []
    try:
        for name in names:
            try:
                run("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr}")
            made.append(name)
            run("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            run("netns", "del", name)


@dataclass(frozen=True)
class Link:
    """A link from the interface `name` to `eth0` in the namespace `name`."""

    name: str

    def run_there(self, function: Callable[[], None]) -> None:
        """Run a function at the other end of the link."""
        run_in(self.name, function)

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
