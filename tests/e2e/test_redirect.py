"""Connections that nftables redirects to a listener, in a network namespace with rules of its own."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import namespaces
from tests.e2e.answering_hop import AnsweringHop, answering_hop
from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import PATIENCE, Program, find_program
from tests.e2e.servers import chainsocks

RULES = {
    "redirect": """table inet test {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 203.0.113.0/24 meta l4proto tcp redirect to :1081
    ip6 daddr 2001:db8::/64 meta l4proto tcp redirect to :1081
  }
}
""",
    "tproxy": """table inet test {
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    ip daddr 203.0.113.0/24 meta l4proto tcp tproxy ip to :1081 meta mark set 1 accept
    ip6 daddr 2001:db8::/64 meta l4proto tcp tproxy ip6 to :1081 meta mark set 1 accept
  }
}
""",
}
"""By the kind of listener that they are for."""


@pytest.fixture(
    params=[
        "10.77.1.1/24 10.77.1.2/24 203.0.113.0/24 203.0.113.5",
        "fd77::1/64 fd77::2/64 2001:db8::/64 2001:db8::5",
    ],
    ids=["IPv4", "IPv6"],
)
def link(request: pytest.FixtureRequest) -> Iterator[tuple[Link, str, str]]:
    """A link to a router, our end of it, and a host behind it."""
    here, there, behind, host = request.param.split()
    with linked_namespace(here, there) as link:
        namespaces.run("route", "add", behind, "via", there.partition("/")[0], "dev", link.name)
        yield link, here.partition("/")[0], host


@contextmanager
def router(link: Link, folder: Path, hop: AnsweringHop, kind: str, *lines: str) -> Iterator[Program]:
    """Run our server in the namespace, and redirect to it what comes by the link."""
    nft = find_program("nft", "nftables")
    there = ["ip", "netns", "exec", link.name]
    subprocess.run([*there, nft, "-f", "-"], input=RULES[kind], text=True, check=True, capture_output=True)
    namespaces.run("-n", link.name, "link", "set", "lo", "up")
    for family in ("-4", "-6"):  # what has the mark is for this machine, whatever its address
        namespaces.run("-n", link.name, family, "rule", "add", "fwmark", "1", "lookup", "100")
        namespaces.run("-n", link.name, family, "route", "add", "local", "default", "dev", "lo", "table", "100")
    config = folder / "chainsocks.toml"
    listeners = ", ".join(f'{{ address = "{each}:1081", kind = "{kind}" }}' for each in ("0.0.0.0", "[::]"))
    url = f"socks5://[{hop.address[0]}]:{hop.address[1]}" if ":" in hop.address[0] else hop.url
    config.write_text(
        f"[server]\nopen = true\nlisten = [{listeners}]\n[hops]\none = {json.dumps(url)}\n[chains]\ndefault = ['one']\n"
        + "\n".join(lines)
    )
    program = Program([*there, Path(sysconfig.get_path("scripts")) / "chainsocks", "serve", "-c", config])
    try:
        program.wait_for("listening on")
        yield program
    finally:
        program.stop()
        print(program.said)  # noqa: T201  (pytest shows it with the failure)


def ask(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), PATIENCE) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while data := sock.recv(4096):
            answer += data
        return answer


@pytest.mark.parametrize("kind", RULES)
def test_a_redirected_connection_goes_through_the_chain(link: tuple[Link, str, str], tmp_path: Path, kind: str) -> None:
    there, here, host = link
    rules = ["[[rules]]", "versions = 'redirect'", "ports = 81", "deny = true"]
    with answering_hop(host=here) as hop, router(there, tmp_path, hop, kind, *rules) as server:
        assert ask(host, 80).endswith(b"greetings\n")
        shown = f"[{host}]" if ":" in host else host
        assert hop.asked == [f"{shown}:80"]
        server.wait_for(rf"command=CONNECT destination=\S*{host}\S*:80 chain=default rule=- reply=00 .*finished")
        # What fails is a reset: an end would look like an empty answer.
        for port, line in ((1, "chain=default rule=- reply=05"), (81, "chain=- rule=1 reply=02")):
            with pytest.raises(ConnectionResetError):
                ask(host, port)
            server.wait_for(rf"{re.escape(host)}\S*:{port}\S* {line}")


@pytest.mark.parametrize("kind", RULES)
def test_what_connects_to_the_listener_itself_is_refused(kind: str) -> None:
    """It was not redirected: its destination is the listener, and the connection would lead back to it."""
    listener = f'{{ address = "127.0.0.1:0", kind = "{kind}" }}'
    for hops in ([], ["socks5://127.0.0.1:1"]):
        with chainsocks(*hops, listen=[listener]) as server:
            with pytest.raises(ConnectionResetError):
                ask(*server.address)
            server.wait_for("not redirected: this server listens there, and it would lead back to it")
