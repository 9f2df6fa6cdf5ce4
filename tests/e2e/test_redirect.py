"""Connections that nftables redirects to a listener, in a network namespace with rules of its own."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.e2e import namespaces
from tests.e2e.answering_hop import AnsweringHop, answering_hop, echoing_hop
from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import PATIENCE, Program, find_program
from tests.e2e.servers import chainsocks
from tests.resolvers import framed, respond

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
    ip daddr 203.0.113.0/24 meta l4proto { tcp, udp } tproxy ip to :1081 meta mark set 1 accept
    ip6 daddr 2001:db8::/64 meta l4proto { tcp, udp } tproxy ip6 to :1081 meta mark set 1 accept
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
    """A link to a router, our end of it, and a host behind it.

    Our end and the route are those of the machine: these tests run one after the other, in whichever processes.
    """
    here, there, behind, host = request.param.split()
    if os.geteuid():
        pytest.skip("needs root, for a network namespace")
    with (Path(tempfile.gettempdir()) / "chainsocks-tests-redirect.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with linked_namespace(here, there) as link:
            namespaces.run("route", "add", behind, "via", there.partition("/")[0], "dev", link.name)
            yield link, here.partition("/")[0], host


@contextmanager
def router(link: Link, folder: Path, hop: AnsweringHop, kind: str, *lines: str, server: str = "") -> Iterator[Program]:
    """Run our server in the namespace, and redirect to it what comes by the link."""
    nft = find_program("nft", "nftables")
    there = ["ip", "netns", "exec", link.name]
    subprocess.run([*there, nft, "-f", "-"], input=RULES[kind], text=True, check=True, capture_output=True)
    namespaces.run("-n", link.name, "link", "set", "lo", "up")
    for family in ("-4", "-6"):  # what has the mark is for this machine, whatever its address
        namespaces.run("-n", link.name, family, "rule", "add", "fwmark", "1", "lookup", "100")
        namespaces.run("-n", link.name, family, "route", "add", "local", "default", "dev", "lo", "table", "100")
    config = folder / "chainsocks.toml"
    udp = ", udp = true" if kind == "tproxy" else ""
    listeners = ", ".join(f'{{ address = "{each}:1081", kind = "{kind}"{udp} }}' for each in ("0.0.0.0", "[::]"))
    url = f"socks5://[{hop.address[0]}]:{hop.address[1]}" if ":" in hop.address[0] else hop.url
    config.write_text(
        f"[server]\nopen = true\n{server}\nlisten = [{listeners}]\n[hops]\none = {json.dumps(url)}\n"
        + "\n".join(["[chains]", "default = ['one']", *lines])
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


@contextmanager
def udp_client(host: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        yield client


@pytest.mark.parametrize("workers", [1, 2])
def test_datagrams_are_answered_from_where_they_were_sent_to(
    link: tuple[Link, str, str], tmp_path: Path, workers: int
) -> None:
    """There is one association for all destinations of a client."""
    there, here, host = link
    rules = ["[[rules]]", "versions = 'redirect'", "ports = 81", "deny = true", "[timeouts]", "grace = 0.1"]
    destinations = [(each, port) for each in (host, f"{host[:-1]}6") for port in (53, 5353)]
    with (
        echoing_hop(here) as hop,
        router(there, tmp_path, hop, "tproxy", *rules, server=f"workers = {workers}") as server,
        udp_client(host) as client,
        udp_client(host) as other,
    ):
        client.sendto(b"denied", (host, 81))
        for destination in destinations:
            for sender in (client, other):
                sender.sendto(b"to " + destination[0].encode(), destination)
                data, source = sender.recvfrom(1000)
                assert (data, source[:2]) == (b"TO " + destination[0].upper().encode(), destination)
        server.stop()
        ends = [line for line in server.lines if "command=UDP_ASSOCIATE " in line]
        size = len(destinations) * (3 + len(host))  # without the one that a rule denies
        assert [f"chain=default rule=- reply=00 up={size} down={size} " in end for end in ends] == [True, True]


def test_a_datagram_to_the_listener_itself_is_dropped(link: tuple[Link, str, str], tmp_path: Path) -> None:
    """It was not handed over, and would lead back to the listener."""
    there, here, host = link
    router_address = here[:-1] + "2"
    with echoing_hop(here) as hop, router(there, tmp_path, hop, "tproxy") as server, udp_client(host) as client:
        client.sendto(b"hello", (router_address, 1081))
        shown = f"[{router_address}]" if ":" in host else router_address
        server.wait_for(re.escape(f"a datagram was sent to {shown}:1081 itself, and not handed over to it"))
        assert "UDP_ASSOCIATE" not in server.said


LOOPS = {
    "redirect": """table inet test {
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr 203.0.113.0/24 meta l4proto tcp redirect to :1081
  }
}
""",
    "tproxy": """table inet test {
  chain output {
    type route hook output priority mangle; policy accept;
    ip daddr 203.0.113.0/24 meta l4proto { tcp, udp } meta mark set 1
  }
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta mark 1 meta l4proto { tcp, udp } tproxy ip to :1081
  }
}
""",
}
"""Rules for the programs of this machine, without an exception for the server."""


@contextmanager
def loop(folder: Path, kind: str) -> Iterator[tuple[str, Program]]:
    """Run our server, without hops, in a namespace whose rules bring back what it sends."""
    nft = find_program("nft", "nftables")
    config = folder / "chainsocks.toml"
    udp = ", udp = true" if kind == "tproxy" else ""
    config.write_text(f"[server]\nopen = true\nlisten = {{ address = '0.0.0.0:1081', kind = '{kind}'{udp} }}\n")
    with namespaces.namespaces("loop") as [name]:
        there = ["ip", "netns", "exec", name]
        subprocess.run([*there, nft, "-f", "-"], input=LOOPS[kind], text=True, check=True, capture_output=True)
        namespaces.run("-n", name, "addr", "add", "10.77.2.2/32", "dev", "lo")
        namespaces.run("-n", name, "route", "add", "203.0.113.0/24", "dev", "lo", "src", "10.77.2.2")
        namespaces.run("-n", name, "rule", "add", "fwmark", "1", "lookup", "100")
        namespaces.run("-n", name, "route", "add", "local", "default", "dev", "lo", "table", "100")
        server = Program([*there, Path(sysconfig.get_path("scripts")) / "chainsocks", "serve", "-c", config])
        try:
            server.wait_for("listening on")
            yield name, server
        finally:
            server.stop()
            print(server.said)  # noqa: T201  (pytest shows it with the failure)


@pytest.mark.parametrize("kind", LOOPS)
def test_a_connection_that_comes_back_is_named(tmp_path: Path, kind: str) -> None:
    """It would make another one, and that one another, until there are no ports."""
    with loop(tmp_path, kind) as (name, server):
        with pytest.raises(ConnectionResetError):
            namespaces.run_in(name, lambda: ask("203.0.113.5", 80))
        server.wait_for("reply=02 .*this server has made this connection, and nftables has brought it back")
        server.wait_for("command=CONNECT ", times=2)
        server.stop()
        assert server.said.count("command=CONNECT ") == 2


def test_a_datagram_that_comes_back_is_named(tmp_path: Path) -> None:
    def send() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", ("203.0.113.5", 53))

    with loop(tmp_path, "tproxy") as (name, server):
        namespaces.run_in(name, send)
        server.wait_for("a datagram of this server to 203.0.113.5:53 came back to it")
        server.stop()
        assert server.said.count("command=UDP_ASSOCIATE ") == 1


QUESTIONS = """table inet test {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 203.0.113.0/24 udp dport 53 redirect to :5353
    ip daddr 203.0.113.0/24 tcp dport 53 redirect to :5353
    ip6 daddr 2001:db8::/64 udp dport 53 redirect to :5353
    ip6 daddr 2001:db8::/64 tcp dport 53 redirect to :5353
  }
}
"""


def test_questions_of_a_network_are_answered_from_where_they_were_sent_to(
    link: tuple[Link, str, str], tmp_path: Path
) -> None:
    """Its machines have a resolver elsewhere, which is asked nothing: the router answers, through the chain."""
    there, here, host = link

    def answer(sock: socket.socket) -> None:
        sock.sendall(framed(respond(sock.recv(4096)[2:])))

    nft = find_program("nft", "nftables")
    with answering_hop(answer, here) as hop:
        url = f"socks5://[{here}]:{hop.address[1]}" if ":" in here else hop.url
        config = tmp_path / "chainsocks.toml"
        listeners = ", ".join(f"{{ address = '{each}:5353', kind = 'dns' }}" for each in ("0.0.0.0", "[::]"))
        lines = f"[server]\nopen = true\nlisten = [{listeners}]\n[hops]\none = '{url}'\n[chains.default]\n"
        config.write_text(f"{lines}hops = ['one']\nresolver = '9.9.9.9:53'\n")
        within = ["ip", "netns", "exec", there.name]
        subprocess.run([*within, nft, "-f", "-"], input=QUESTIONS, text=True, check=True, capture_output=True)
        server = Program([*within, Path(sysconfig.get_path("scripts")) / "chainsocks", "serve", "-c", config])
        try:
            server.wait_for("listening on")
            query = dns.message.make_query("four.example", "A")
            for ask_it in (dns.query.udp, dns.query.tcp):
                [found] = ask_it(query, host, timeout=PATIENCE).answer  # which has to come from there
                assert str(found) == "four.example. 60 IN A 192.0.2.4"
            assert hop.asked == ["9.9.9.9:53"] * 2
        finally:
            server.stop()
            print(server.said)  # noqa: T201  (pytest shows it with the failure)
