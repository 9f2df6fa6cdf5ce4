"""Listeners that lead to one destination."""

from __future__ import annotations

import socket

import pytest

from tests.e2e.answering_hop import answering_hop, echoing_hop
from tests.e2e.programs import PATIENCE, SocketAddress, free_address
from tests.e2e.servers import chainsocks
from tests.e2e.targets import exchange, serving, source_and_sink

TARGET = "db.internal:5432"
GET = b"GET / HTTP/1.0\r\n\r\n"


def tunnel(target: str | SocketAddress, address: str = "127.0.0.1:0", *more: str) -> str:
    """A listener."""
    if not isinstance(target, str):
        target = f"{target[0]}:{target[1]}"
    keys = [f'address = "{address}"', 'kind = "tunnel"', f'target = "{target}"', *more]
    return f"{{ {', '.join(keys)} }}"


def ask(address: SocketAddress, say: bytes = GET) -> bytes:
    """Say something, and return all that is answered."""
    with socket.create_connection(address, PATIENCE) as sock:
        sock.sendall(say)
        answer = b""
        while data := sock.recv(4096):
            answer += data
        return answer


def test_a_tunnel_leads_to_its_target_through_its_chain() -> None:
    """The name goes down the chain, and only other clients have to log in."""
    with answering_hop() as hop:
        tables = ["[hops]", f'one = "{hop.url}"', "[chains]", 'default = "direct"', 'office = ["one"]']
        listen = [tunnel(TARGET, "127.0.0.1:0", 'chain = "office"')]
        with chainsocks(listen=listen, tables=tables, users={"carol": "secret"}) as server:
            assert ask(server.address).endswith(b"greetings\n")
            assert hop.asked == [TARGET]
            server.wait_for(rf"command=CONNECT destination={TARGET} chain=office reply=00 .*finished")


def test_a_destination_that_speaks_first() -> None:
    with serving(lambda sock: sock.sendall(b"220 ready\r\n")) as target, chainsocks(listen=[tunnel(target)]) as server:
        assert ask(server.address, b"") == b"220 ready\r\n"


def test_bulk_both_ways() -> None:
    with (
        serving(source_and_sink) as target,
        chainsocks(listen=[tunnel(target)]) as server,
        socket.create_connection(server.address, PATIENCE) as sock,
    ):
        exchange(sock, 3_000_000)


@pytest.mark.parametrize(
    ("target", "rules", "line"),
    [
        (free_address(), "", "reply=05 .*connection refused"),
        ("127.0.0.1:81", "[[rules]]\nversions = 'tunnel'\nports = 81\ndeny = true", "rule=1 reply=02"),
    ],
    ids=["no server", "a rule"],
)
def test_a_way_that_does_not_open_is_a_reset(target: str | SocketAddress, rules: str, line: str) -> None:
    """An end would look like an empty answer of the destination."""
    listen = [tunnel(target, "127.0.0.1:0", 'chain = "direct"')]
    with chainsocks(listen=listen, tables=[rules]) as server:
        with pytest.raises(ConnectionResetError):
            ask(server.address)
        server.wait_for(line)


def test_a_tunnel_to_its_own_listener_is_refused() -> None:
    """It would lead back to it."""
    address = free_address()
    with chainsocks(listen=[tunnel(address, f"{address[0]}:{address[1]}")]) as server:
        with pytest.raises(ConnectionResetError):
            ask(server.address)
        server.wait_for("this server listens there")


# --- datagrams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_datagrams_through_the_chain(workers: int) -> None:
    with (
        echoing_hop() as hop,
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as two,
    ):
        listen = [tunnel(TARGET, "127.0.0.1:0", "udp = true")]
        with chainsocks(hop.url, listen=listen, users={"carol": "secret"}, workers=workers, grace=0.1) as server:
            for data in (b"one", b"two", b"x" * 40_000):
                for client in (one, two):
                    client.settimeout(PATIENCE)
                    client.connect(server.address)
                    client.send(data)
                    assert client.recv(65536) == data.upper()
            server.stop()
            lines = [line for line in server.lines if f"UDP_ASSOCIATE destination={TARGET} chain=default " in line]
            assert ["reply=00 up=40006 down=40006 " in line for line in lines] == [True, True]


@pytest.mark.parametrize(
    ("target", "more", "line"),
    [
        (TARGET, [], "reply=07 .*carries no UDP: hop hop1 speaks socks4"),
        (TARGET, ["[[rules]]", "to = 'db.internal'", "commands = 'udp'", "deny = true"], "rule=1 reply=02 "),
        (
            None,
            ["[[rules]]", "chain = 'direct'"],
            "reply=02 .*this server listens there: the datagrams would lead back",
        ),
    ],
    ids=["no UDP", "a rule", "itself"],
)
def test_datagrams_that_lead_nowhere(target: str | None, more: list[str], line: str) -> None:
    here = free_address()
    listen = [tunnel(target or here, f"{here[0]}:{here[1]}", "udp = true")]
    with (
        chainsocks("socks4://127.0.0.1:1", listen=listen, tables=more) as server,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        client.connect(server.address)
        for _ in range(10):
            client.send(b"hello")
        server.wait_for(f"command=UDP_ASSOCIATE .*{line}")
