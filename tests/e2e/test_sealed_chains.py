"""What can be read on each link of a chain of three: nothing of what lies behind the next hop, if it is sealed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.certificates import authority
from tests.e2e.programs import PATIENCE, SocketAddress, loopback_host
from tests.e2e.servers import chainsocks
from tests.e2e.targets import CHUNK, echo, serving
from tests.e2e.wire import connected, read

HOPS = (1, 2, 3)
PAYLOAD = b"the words that are only for the destination"


@dataclass
class Link:
    """A relay in front of a party that records all bytes, in both directions."""

    address: SocketAddress
    recorded: bytearray = field(default_factory=bytearray)

    def shows(self, what: bytes) -> bool:
        return what in self.recorded


@contextmanager
def recording(behind: SocketAddress) -> Iterator[Link]:
    def handle(client: socket.socket) -> None:
        def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while data := source.recv(CHUNK):
                    link.recorded.extend(data)
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # an end, which the other direction finds as well

        with socket.create_connection(behind, PATIENCE) as upstream:
            back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
            back.start()
            pump(client, upstream)
            back.join(PATIENCE)

    with serving(handle, loopback_host()) as address:
        link = Link(address)
        yield link


def packed(address: SocketAddress) -> bytes:
    """An address as it is in a SOCKS request."""
    return socket.inet_aton(address[0]) + address[1].to_bytes(2, "big")


@contextmanager
def conversation(folder: Path, *, sealed: bool) -> Iterator[tuple[list[Link], dict[str, bytes]]]:
    """Send words through three hops and back; yield the four links, and the secrets by their names."""
    with ExitStack() as stack:
        destination = stack.enter_context(serving(echo, loopback_host()))
        last = stack.enter_context(recording(destination))
        links, hops = [], []
        secrets = {"the destination": packed(last.address), "the payload": PAYLOAD}
        for number in HOPS:
            name, login = f"hop{number}.example", f"user-of-{number}"
            leaf = authority().issue(name)
            pem = folder / f"{number}.pem"
            pem.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
            pem.chmod(0o600)
            tls = f', tls = {{ cert = "{pem}" }}' if sealed else ""
            listen = f'{{ address = "127.0.0.1:0"{tls} }}'
            server = stack.enter_context(chainsocks(listen=[listen], users={login: f"password-{number}"}))
            link = stack.enter_context(recording(server.address))
            secrets[f"the login at hop {number}"] = login.encode()
            secrets[f"the password at hop {number}"] = f"password-{number}".encode()
            secrets[f"the address of hop {number}"] = packed(link.address)
            tls = f', tls = {{ ca = "{folder / "ca.pem"}", name = "{name}" }}' if sealed else ""
            parts = f'protocol = "socks5", address = "{link.address[0]}:{link.address[1]}"'
            parts += f', username = "{login}", password = "password-{number}"'
            hops.append(f"{{ {parts}{tls} }}")
            links.append(link)
            if sealed:
                secrets[f"the name of hop {number}"] = name.encode()
        (folder / "ca.pem").write_bytes(authority().ca.cert_pem.bytes())
        front = stack.enter_context(chainsocks(*hops, chain=f"seal = {str(sealed).lower()}"))
        with connected(front.address, last.address) as sock:
            for _ in range(3):
                sock.sendall(PAYLOAD)
                assert read(sock, len(PAYLOAD)) == PAYLOAD
        yield [*links, last], secrets


def shown(link: Link, secrets: dict[str, bytes]) -> set[str]:
    return {name for name, secret in secrets.items() if link.shows(secret)}


def test_a_sealed_chain_shows_neighbours_only(tmp_path: Path) -> None:
    with conversation(tmp_path, sealed=True) as (links, secrets):
        for number, link in zip(HOPS, links, strict=False):
            # The names of hops are in the TLS handshakes with them (SNI): of the next one only, on each link.
            assert shown(link, secrets) == {f"the name of hop {number}"}
        assert shown(links[3], secrets) == {"the payload"}


def test_the_open_chain_shows_all_of_it(tmp_path: Path) -> None:
    with conversation(tmp_path, sealed=False) as (links, secrets):
        for number, link in zip(HOPS, links, strict=False):
            behind = {f"the address of hop {after}" for after in HOPS if after > number}
            logins = {f"the {what} at hop {after}" for what in ("login", "password") for after in HOPS[number - 1 :]}
            assert shown(link, secrets) == {"the destination", "the payload", *behind, *logins}
        assert shown(links[3], secrets) == {"the payload"}
