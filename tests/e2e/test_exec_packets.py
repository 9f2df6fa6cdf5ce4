"""Every packet that leaves a machine while a program tries to get past its chain, captured and accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import CHAINSOCKS
from tests.e2e import namespaces
from tests.e2e.answering_hop import answering_hop
from tests.e2e.captured import captured
from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import clean_environment, find_program
from tests.e2e.servers import chainsocks
from tests.namespaces_of_users import needs_namespaces

HERE, THERE = "10.77.3.1", "10.77.3.2"
LEAKS = Path(__file__).with_name("leaks.py")
PROBE = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 9))"


@pytest.fixture
def link() -> Iterator[Link]:
    needs_namespaces()
    with linked_namespace(f"{HERE}/24", f"{THERE}/24") as link:
        namespaces.run("-n", link.name, "link", "set", "lo", "up")
        namespaces.run("-n", link.name, "route", "add", "default", "via", HERE)  # what leaks is seen here
        yield link


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
