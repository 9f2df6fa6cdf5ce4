"""Where connections and datagrams leave from, as the destination sees it: two machines with two links between them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from tests.e2e.namespaces import namespaces, run, run_in
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.spawner import NAMESPACE
from tests.e2e.wire import UDP_ASSOCIATE, socks5_request

TARGET, TARGET6 = "10.9.9.9", "fd00::2"
FIRST, SECOND, FIRST6, SECOND6, OTHER_LINK = "10.0.0.1", "10.0.0.3", "fd00::1", "fd00::3", "10.0.1.1"
MARK = 7


@dataclass(frozen=True)
class Machines:
    """Network namespaces: `here` has two links to `there`, whose address `TARGET` is reached by both.

    The first link is the usual one, and has two addresses. Packets with the mark take the other one.
    """

    here: str
    there: str

    def server(self, *hops: str, where: str = "", **more: object) -> AbstractContextManager[Chainsocks]:
        """Run our server, for clients at any address."""
        lines, environment = ["open = true", "private = true"], {NAMESPACE: where or self.here}
        return chainsocks(*hops, server_lines=lines, environment=environment, **more)  # type: ignore[arg-type]

    def connect(self, address: SocketAddress) -> socket.socket:
        """Connect from `here`."""
        return run_in(self.here, lambda: socket.create_connection(address, PATIENCE))

    def listen(self, host: str) -> socket.socket:
        """Listen `there`."""
        return run_in(self.there, lambda: listening(host))

    def udp(self, where: str, host: str) -> socket.socket:
        """Open a UDP socket in one of the namespaces."""
        return run_in(where, lambda: datagrams(host))


def listening(host: str, port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family)
    sock.settimeout(PATIENCE)
    return sock


def datagrams(host: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.bind((host, port))
    return sock


def ignore_paths() -> None:
    """Accept answers on another link than the usual one."""
    for name in ("all", "default", "a0", "a1"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with namespaces("a", "b") as (here, there):
        for number in (0, 1):
            peer = ("peer", "name", f"b{number}", "netns", there)
            run("-n", here, "link", "add", f"a{number}", "type", "veth", *peer)
        for name, interface, *addresses in (
            (here, "a0", f"{FIRST}/24", f"{SECOND}/24", f"{FIRST6}/64", f"{SECOND6}/64"),
            (here, "a1", f"{OTHER_LINK}/24"),
            (there, "b0", "10.0.0.2/24", f"{TARGET6}/64"),
            (there, "b1", "10.0.1.2/24"),
            (there, "lo", f"{TARGET}/32"),
        ):
            for address in addresses:
                # Of two IPv6 addresses, the one that is not deprecated is the usual one.
                how = ("nodad", *(("preferred_lft", "0") if SECOND6 in address else ())) if ":" in address else ()
                run("-n", name, "addr", "add", address, "dev", interface, *how)
            run("-n", name, "link", "set", interface, "up")
        run("-n", here, "route", "add", TARGET, "via", "10.0.0.2")
        run("-n", here, "route", "add", TARGET, "via", "10.0.1.2", "metric", "100")
        run("-n", here, "route", "add", TARGET, "via", "10.0.1.2", "table", "100")
        try:
            run("-n", here, "rule", "add", "fwmark", str(MARK), "lookup", "100")
        except subprocess.CalledProcessError:
            pytest.skip("this kernel has no policy routing")
        run_in(here, ignore_paths)
        yield Machines(here, there)


WAYS = {
    "unset": ("", FIRST, TARGET, FIRST),
    "unset by the other address": ("", SECOND, TARGET, FIRST),
    "source": (f'source = "{SECOND}"', FIRST, TARGET, SECOND),
    "source6": (f'source = ["{SECOND}", "{SECOND6}"]', FIRST, TARGET6, SECOND6),
    "same": ('source = "same"', SECOND, TARGET, SECOND),
    "same as the usual one": ('source = "same"', FIRST, TARGET, FIRST),
    "same6": ('source = "same"', SECOND6, TARGET6, SECOND6),
    "interface": ('interface = "a1"', FIRST, TARGET, OTHER_LINK),
    "mark": (f"mark = {MARK}", FIRST, TARGET, OTHER_LINK),
    "another mark": (f"mark = {MARK + 1}", FIRST, TARGET, FIRST),
    "source and mark": (f'source = "{SECOND}"\nmark = {MARK}', FIRST, TARGET, SECOND),
}
"""What is written, the address by which the client comes in, that of the destination, and what it should see."""

SOME = {name: WAYS[name] for name in ("source", "same6", "interface", "mark")}

ways = pytest.mark.parametrize(("way", "by", "target", "seen"), WAYS.values(), ids=WAYS)
some_ways = pytest.mark.parametrize(("way", "by", "target", "seen"), SOME.values(), ids=SOME)


def open_socks(machines: Machines, front: Chainsocks, by: str, request: bytes) -> tuple[socket.socket, bytes]:
    """Send a request to the server at one of its addresses; return the connection and the reply."""
    client = machines.connect((by, front.address[1]))
    client.sendall(b"\x05\x01\x00" + request)
    assert client.recv(2) == b"\x05\x00"
    return client, client.recv(300)


@ways
def test_a_direct_connection(machines: Machines, way: str, by: str, target: str, seen: str) -> None:
    listen = ["[::]:0"] if ":" in by else ["0.0.0.0:0"]
    with (
        machines.server(listen=listen, tables=["[chains.direct]", way], lane=True) as front,
        machines.listen(target) as destination,
    ):
        client, reply = open_socks(machines, front, by, socks5_request(destination.getsockname()[:2]))
        with client:
            assert reply[1] == 0
            accepted, peer = destination.accept()
            accepted.close()
    assert peer[0] == seen


@some_ways
def test_a_first_hop(machines: Machines, way: str, by: str, target: str, seen: str) -> None:
    listen = ["[::]:0"] if ":" in by else ["0.0.0.0:0"]
    at = f"[{target}]" if ":" in target else target
    with (
        machines.server(where=machines.there, listen=[f"{at}:0"]) as hop,
        machines.server(hop_table(hop.url, way), listen=listen) as front,
        machines.listen(TARGET) as destination,
    ):
        client, reply = open_socks(machines, front, by, socks5_request(destination.getsockname()[:2]))
        assert reply[1] == 0
        destination.accept()[0].close()
        client.close()
        hop.wait_for(re.escape(f"client=[{seen}]:" if ":" in seen else f"client={seen}:"))


@some_ways
def test_datagrams(machines: Machines, way: str, by: str, target: str, seen: str) -> None:
    listen = ["[::]:0"] if ":" in by else ["0.0.0.0:0"]
    with (
        machines.server(listen=listen, tables=["[chains.direct]", way]) as front,
        machines.udp(machines.there, target) as destination,
    ):
        client, reply = open_socks(machines, front, by, socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE))
        with client, machines.udp(machines.here, client.getsockname()[0]) as ours:
            assert reply[1] == 0
            ours.sendto(b"\0\0\0" + socks5_request(destination.getsockname()[:2])[3:] + b"hello", (by, port_in(reply)))
            data, peer = destination.recvfrom(100)
            assert (data, peer[0]) == (b"hello", seen)
            destination.sendto(b"answer", peer)
            assert ours.recv(100).endswith(b"answer")


def port_in(reply: bytes) -> int:
    return int.from_bytes(reply[-2:], "big")


@pytest.mark.parametrize(
    ("way", "target", "code", "says"),
    [
        ('source = "192.0.2.77"', TARGET, 1, "source 192.0.2.77: cannot assign requested address, at this end"),
        ('interface = "a7"', TARGET, 1, "interface a7: no such device, at this end"),
        (f'source = "{SECOND}"', TARGET6, 1, f"source {SECOND}: of another family than {TARGET6}"),
        ('family = "ipv4"', TARGET6, 8, f'{TARGET6} is not of the family "ipv4"'),
    ],
)
def test_a_way_that_cannot_be_had(machines: Machines, way: str, target: str, code: int, says: str) -> None:
    with machines.server(tables=["[chains.direct]", way]) as front:
        client, reply = open_socks(machines, front, "127.0.0.1", socks5_request((target, 9)))
        client.close()
        assert reply[1] == code
        front.wait_for(re.escape(says.replace('"', '\\"')))


@pytest.fixture(scope="module")
def both(machines: Machines) -> Iterator[str]:
    """A name with an address of each family `there`, which a name server knows: the one that this machine asks."""
    server = re.search(r"^nameserver ([0-9.]+)$", Path("/etc/resolv.conf").read_text("ascii"), re.MULTILINE)
    if not server:
        pytest.skip("this machine asks no name server by IPv4")
    run("-n", machines.here, "addr", "add", f"{server[1]}/32", "dev", "lo")

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((server[1], 53))
        return sock

    with run_in(machines.here, listen) as sock:
        thread = threading.Thread(target=answer, args=(sock,))
        thread.start()
        yield "both.example"
        with suppress(OSError):  # it wakes the thread, and complains
            sock.shutdown(socket.SHUT_RDWR)
        thread.join()


def answer(sock: socket.socket) -> None:
    """Answer questions about addresses, whatever the name is, until the socket is shut down."""
    records = {dns.rdatatype.A: TARGET, dns.rdatatype.AAAA: TARGET6}
    while True:
        try:
            message, client = sock.recvfrom(512)
        except OSError:
            return
        if not message:
            return
        response = dns.message.make_response(dns.message.from_wire(message), recursion_available=True)
        [question] = response.question
        if question.rdtype in records:
            response.answer.append(
                dns.rrset.from_text(question.name, 60, "IN", question.rdtype, records[question.rdtype])
            )
        sock.sendto(response.to_wire(), client)


@pytest.mark.parametrize(
    ("family", "seen"), [("ipv4", FIRST), ("ipv6", FIRST6), ("prefer-ipv4", FIRST), ("prefer-ipv6", FIRST6)]
)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_family(machines: Machines, both: str, kind: str, family: str, seen: str) -> None:
    family_line = ["[chains.direct]", f'family = "{family}"']
    if kind == "tcp":
        with machines.listen(TARGET) as four, machines.server(tables=family_line, lane=True) as front:
            port = four.getsockname()[1]
            with run_in(machines.there, lambda: listening(TARGET6, port)) as six:
                client, reply = open_socks(machines, front, "127.0.0.1", socks5_request((both, port)))
                client.close()
                assert reply[1] == 0
                accepted, peer = (six if ":" in seen else four).accept()
                accepted.close()
                assert peer[0] == seen
        return
    with machines.udp(machines.there, TARGET) as four, machines.server(tables=family_line) as front:
        port = four.getsockname()[1]
        client, reply = open_socks(machines, front, "127.0.0.1", socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE))
        with (
            client,
            run_in(machines.there, lambda: datagrams(TARGET6, port)) as six,
            machines.udp(machines.here, "127.0.0.1") as ours,
        ):
            ours.sendto(b"\0\0\0" + socks5_request((both, port))[3:] + b"hello", ("127.0.0.1", port_in(reply)))
            _, peer = (six if ":" in seen else four).recvfrom(100)
            assert peer[0] == seen


def test_a_client_on_a_unix_socket_has_come_in_by_no_address(machines: Machines, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with machines.server(listen=[f"unix:{path}"], tables=["[chains.direct]", 'source = "same"']) as front:
        assert front.listeners
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"\x05\x01\x00" + socks5_request((TARGET, 80)))
            assert client.recv(2) == b"\x05\x00"
            assert client.recv(10)[1] == 1
        front.wait_for('source = .*"same.*needs a client that came in by an IP address')


def hop_table(url: str, lines: str) -> str:
    return f"{{ {', '.join([f'url = {json.dumps(url)}', *lines.splitlines()])} }}"
