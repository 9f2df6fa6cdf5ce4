"""Hops at unix sockets, and the tor of this machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.namespaces import namespaces
from tests.e2e.programs import SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.spawner import NAMESPACE
from tests.e2e.targets import MIB, exchange
from tests.e2e.wire import CONNECT, UDP_ASSOCIATE, ask_socks5, connect, connected


def refused_session(front: Chainsocks, address: SocketAddress, code: int, command: int = CONNECT) -> str:
    """See that a request is refused with `code`; return what the log says of its session.

    The session ends when the client has closed: before that, the server waits for it.
    """
    with connect(front.address) as sock:
        assert ask_socks5(sock, address, command) == code
        client = sock.getsockname()
    return front.session(client)


@pytest.mark.parametrize("scheme", ["socks5", "socks4a", "http"])
def test_a_first_hop_at_a_unix_socket(scheme: str, tmp_path: Path, source_and_sink: SocketAddress) -> None:
    path = tmp_path / "hop@work"
    with chainsocks(listen=[f"unix:{path}"]) as hop, chainsocks() as second:
        assert hop.listeners
        with chainsocks(f"{scheme}://unix:{path}", second.url) as front:
            with connected(front.address, source_and_sink) as sock:
                exchange(sock, 8 * MIB)
            front.wait_for(re.escape(f"hop hop1 (1 of 2) at unix:{path}, "))


def test_a_login_at_a_unix_socket(tmp_path: Path, source_and_sink: SocketAddress) -> None:
    path = tmp_path / "socket"
    with chainsocks(listen=[f"unix:{path}"], users={"carol": "open@sesame"}) as hop:
        assert hop.listeners
        with (
            chainsocks(f"socks5://carol:open%40sesame@unix:{path}") as front,
            connected(front.address, source_and_sink) as sock,
        ):
            exchange(sock, MIB)


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with chainsocks(f"socks5://unix:{tmp_path}/nothing") as front:
        line = refused_session(front, ("192.0.2.80", 80), 1)
    assert f"hop hop1 (1 of 1) at unix:{tmp_path}/nothing, TCP connect: no such file or directory" in line


def test_no_datagrams_go_through_a_unix_socket(tmp_path: Path) -> None:
    with chainsocks(f"socks5://unix:{tmp_path}/nothing") as front:
        line = refused_session(front, ("0.0.0.0", 0), 7, UDP_ASSOCIATE)
    assert 'outcome="chain default carries no UDP: hop hop1 is at a unix socket, which has no address' in line


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:9", "hop hop1 speaks http, and only socks5 carries UDP"),
        ("https://127.0.0.1:9", "hop hop1 is spoken to in TLS, and datagrams would go in the clear beside it"),
        ("socks5+tls://127.0.0.1:9", "hop hop1 is spoken to in TLS, and datagrams would go in the clear beside it"),
    ],
)
def test_http_and_tls_hops_refuse_datagrams_by_name(url: str, why: str) -> None:
    with chainsocks(url) as front:
        line = refused_session(front, ("0.0.0.0", 0), 7, UDP_ASSOCIATE)
    assert f'outcome="chain default carries no UDP: {why}"' in line


def test_the_tor_of_this_machine() -> None:
    """A server of ours is at its port, in a network namespace, where no other one is."""
    if Path("/run/tor/socks").exists():
        pytest.skip("a tor runs on this machine")
    with namespaces("t") as [name], chainsocks(listen=["127.0.0.1:9050"], environment={NAMESPACE: name}) as tor:
        assert tor.listeners
        with chainsocks("tor", environment={NAMESPACE: name}) as front:
            front.wait_for("hop hop1: tor at 127.0.0.1:9050")
            assert front.listeners
