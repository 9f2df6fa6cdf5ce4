"""Lookups by this machine's resolver, and what its files say."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from chainsocks.net.names import SystemFiles, addresses_of, is_numeric, name_of
from tests.net.sockets import LOOPBACK, LOOPBACK6

BOTH = "hosts: files dns\n"
HOSTS = """\
127.0.0.1 localhost
192.0.2.1\tPrinter.example printer  # old.example
2001:db8::1 printer.example
# 192.0.2.2 gone.example
192.0.2.300 bad.example
fe80::1%lo scoped.example
192.0.2.3
"""


def files(root: Path, hosts: str = HOSTS, nsswitch: str | None = BOTH) -> SystemFiles:
    (root / "hosts").write_text(hosts)
    if nsswitch is not None:
        (root / "nsswitch.conf").write_text(nsswitch)
    found = SystemFiles(root)
    assert found.have_changed(0)
    return found


def test_localhost_is_known_to_every_machine() -> None:
    addresses = addresses_of(b"localhost", 0)
    assert LOOPBACK in addresses
    assert set(addresses) <= {LOOPBACK, LOOPBACK6}
    assert addresses_of(b"localhost", socket.AF_INET) == [LOOPBACK]


def test_only_addresses_for_streams_are_asked_for() -> None:
    assert addresses_of(b"192.0.2.1", 0) == ["192.0.2.1"]  # or each would come three times


def test_this_machine_has_a_name() -> None:
    assert name_of(b"127.0.0.1") == socket.getnameinfo(("127.0.0.1", 0), socket.NI_NAMEREQD)[0]


@pytest.mark.parametrize(
    ("name", "numeric"),
    [
        (b"127.1", True),
        (b"2130706433", True),
        (b"0x7f.1", True),
        (b"::1", True),
        (b"::1%1", True),
        (b"example.org", False),
        (b"4.example", False),
        (b"1.2.3.4.5", False),
        (b"a:b", False),
        (b"host-1", False),
        (b".", False),
        (b"not-\xff-utf8", False),
    ],
)
def test_what_needs_no_server(name: bytes, numeric: bool) -> None:  # noqa: FBT001
    assert is_numeric(name) is numeric


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (b"localhost", True),
        (b"printer.example", True),
        (b"printer", True),
        (b"old.example", False),
        (b"gone.example", False),
        (b"bad.example", False),
        (b"scoped.example", False),
        (b"192.0.2.3", False),
    ],
)
def test_the_names_in_hosts(name: bytes, known: bool, tmp_path: Path) -> None:  # noqa: FBT001
    assert files(tmp_path).is_in_hosts(name) is known


@pytest.mark.parametrize(
    ("nsswitch", "read"),
    [
        (BOTH, True),
        ("passwd: files\nhosts:\tfiles [NOTFOUND=return] # dns", True),
        ("hosts: dns files\n", False),
        ("hosts:\n", False),
        ("passwd: files\n", False),
        ("#hosts: files\n", False),
        (None, False),
    ],
)
def test_hosts_is_read_where_the_resolver_reads_it_first(nsswitch: str | None, read: bool, tmp_path: Path) -> None:  # noqa: FBT001
    assert files(tmp_path, nsswitch=nsswitch).is_in_hosts(b"printer") is read


@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "nsswitch.conf"])
def test_a_change_is_seen_within_a_second(name: str, tmp_path: Path) -> None:
    found = files(tmp_path)
    (tmp_path / name).write_text("# new\n")
    assert not found.have_changed(0.9)
    assert found.have_changed(1)
    assert not found.have_changed(2)
    (tmp_path / name).unlink()
    assert found.have_changed(3)


def test_a_change_without_another_size_is_seen(tmp_path: Path) -> None:
    found = files(tmp_path)
    (tmp_path / "hosts").write_text(HOSTS.replace("printer", "plotter"))
    os.utime(tmp_path / "hosts", ns=(1, 1))
    assert found.have_changed(1)
    assert found.is_in_hosts(b"plotter")
    assert not found.is_in_hosts(b"printer")
