"""Every packet that leaves a machine while a program tries to get past its chain, captured and accounted for."""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import CHAINSOCKS
from tests.e2e import namespaces
from tests.e2e.answering_hop import answering_hop
from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import PATIENCE, clean_environment, find_program
from tests.e2e.servers import chainsocks
from tests.namespaces_of_users import needs_namespaces

HERE, THERE = "10.77.3.1", "10.77.3.2"
LEAKS = Path(__file__).with_name("leaks.py")
PROBE = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 9))"
END = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'end', ('203.0.113.99', 9))"
_ALL = 3  # ETH_P_ALL
_SETUP = {*range(133, 138), 143, 130, 131}  # of ICMPv6: neighbours, routers, groups


@pytest.fixture
def link() -> Iterator[Link]:
    needs_namespaces()
    with linked_namespace(f"{HERE}/24", f"{THERE}/24") as link:
        namespaces.run("-n", link.name, "link", "set", "lo", "up")
        namespaces.run("-n", link.name, "route", "add", "default", "via", HERE)  # what leaks is seen here
        yield link


def describe(packet: bytes) -> str:
    """Say what left: the protocol and where to; nothing of what sets up a link."""
    kind, *_ = struct.unpack_from(">H", packet, 12)
    if kind == 0x0806:
        return ""
    if kind == 0x86DD:
        number, target = packet[20], ipaddress.ip_address(packet[38:54])
        hop_by_hop = number == 0 and packet[54] == 58
        if (number == 58 and packet[54] in _SETUP) or (hop_by_hop and packet[62] in _SETUP):
            return ""
        return f"IPv6 {number} {target}"
    target, start = ipaddress.ip_address(packet[30:34]), 14 + (packet[14] & 15) * 4
    [port] = struct.unpack_from(">H", packet, start + 2)
    return f"{ {6: 'TCP', 17: 'UDP'}.get(packet[23], packet[23]) } {target}:{port}"


@contextmanager
def captured(link: Link) -> Iterator[set[str]]:
    """Capture what comes from the namespace, until a last packet."""
    seen: set[str] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:  # of no interface until it is bound
        sock.bind((link.name, _ALL))
        sock.settimeout(PATIENCE)

        def receive() -> None:
            while True:
                packet, (_, _, direction, *_) = sock.recvfrom(65536)
                if direction == socket.PACKET_OUTGOING:
                    continue
                if (said := describe(packet)) == "UDP 203.0.113.99:9":
                    return
                seen.add(said)

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield seen
        finally:
            run(link, sys.executable, "-c", END)
            thread.join(PATIENCE)
    seen.discard("")


def run(link: Link, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in the namespace."""
    words = ["ip", "netns", "exec", link.name, *command]
    return subprocess.run(
        words, env=clean_environment(Path("/nonexistent")), capture_output=True, text=True, check=False, timeout=60
    )


def test_nothing_leaves_but_what_goes_to_the_first_hop(link: Link) -> None:
    curl = find_program("curl", "curl")
    open_to_all = ["open = true", "private = true"]
    with (
        answering_hop() as last,
        chainsocks() as second,
        chainsocks(listen=[f"{HERE}:0"], server_lines=open_to_all) as first,
        captured(link) as seen,
    ):
        first_hop = first.listeners[0]
        hops = [f"--hop={url}" for url in (f"socks5://{first_hop}", second.url, last.url)]
        inside: list[str | Path] = [CHAINSOCKS, "exec", *hops, "--"]
        commands: list[list[str | Path]] = [
            [curl, "-sS", "http://example.test/", "http://192.0.2.70/", "http://[2001:db8::70]/"],
            [sys.executable, "-c", "import urllib.request as r; print(r.urlopen('http://python.test').read())"],
            [sys.executable, LEAKS, json.dumps({"abstract": "x", "covered": "/x", "path": "/x"})],
        ]
        for command in commands:
            done = run(link, *inside, *command)
            assert done.returncode == 0, done.stderr
        for asked in ("example.test:80", "192.0.2.70:80", "[2001:db8::70]:80", "python.test:80", "192.0.2.80:80"):
            last.wait_for(asked)
    assert seen == {f"TCP {first_hop}"}


def test_what_does_leave_is_seen(link: Link) -> None:
    with captured(link) as seen:
        run(link, sys.executable, "-c", PROBE)
    assert seen == {"UDP 8.8.8.8:9"}
