"""Chains through foreign servers: microsocks, dante and ``ssh -D``, in every order, and among our own.

Nothing here relies on half-close, which microsocks does not have.
"""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.e2e import servers
from tests.e2e.programs import SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import MIB, exchange
from tests.e2e.wire import ask_socks5, connect, connected, read_to_end

FOREIGN = ("microsocks", "danted", "ssh")

LOGIN = "alice:won%derland"


def urls(request: pytest.FixtureRequest, names: tuple[str, ...]) -> list[str]:
    """Start the servers of a chain, unless they run already."""
    return [request.getfixturevalue(name) for name in names]


@pytest.mark.parametrize("names", list(permutations(FOREIGN)), ids="-".join)
def test_a_chain_of_three_foreign_servers(
    request: pytest.FixtureRequest, source_and_sink: SocketAddress, names: tuple[str, ...]
) -> None:
    size = 8 * MIB
    with chainsocks(*urls(request, names)) as front, connected(front.address, source_and_sink) as sock:
        exchange(sock, size)
        client = sock.getsockname()
        sock.close()
        session = front.session(client)
        assert f" up={size + 8} down={size + 64} " in session
        assert 'outcome="finished"' in session


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("ours", [0, 1], ids=["ours-first", "ours-last"])
def test_a_pair_with_one_of_ours(
    request: pytest.FixtureRequest, own_hops: list[Chainsocks], source_and_sink: SocketAddress, foreign: str, ours: int
) -> None:
    hops = urls(request, (foreign,))
    hops.insert(ours, own_hops[0].url)
    with chainsocks(*hops) as front, connected(front.address, source_and_sink) as sock:
        exchange(sock, 4 * MIB)


@pytest.mark.parametrize(
    ("name", "protocol", "host"),
    [
        ("danted", "socks4", "127.0.0.1"),
        ("ssh", "socks4", "127.0.0.1"),
        ("ssh", "socks4a", "localhost"),
        ("microsocks", "socks5", "localhost"),
        ("danted", "socks5", "localhost"),
        ("ssh", "socks5", "localhost"),
    ],
)
def test_versions_and_names(
    request: pytest.FixtureRequest, source_and_sink: SocketAddress, name: str, protocol: str, host: str
) -> None:
    """A name travels to the hop as it is; the hop looks it up."""
    [url] = urls(request, (name,))
    with chainsocks(url.replace("socks5", protocol)) as front:
        with connected(front.address, (host, source_and_sink[1])) as sock:
            exchange(sock, MIB)
        assert "name lookup" not in front.said


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_a_login_at_microsocks(own_hops: list[Chainsocks], source_and_sink: SocketAddress, place: int) -> None:
    with servers.microsocks(LOGIN) as (host, port):
        hops = [own_hops[0].url, own_hops[1].url]
        hops.insert(place, f"socks5://{LOGIN.replace('%', '%25')}@{host}:{port}")
        with chainsocks(*hops) as front, connected(front.address, source_and_sink) as sock:
            exchange(sock, 4 * MIB)


@pytest.mark.parametrize(
    ("login", "complaint"),
    [
        pytest.param("alice:wrong@", "username/password sub-negotiation: it refused", id="wrong-password"),
        pytest.param("", "method negotiation: it requires a login", id="no-login"),
    ],
)
def test_a_login_that_microsocks_refuses(
    own_hops: list[Chainsocks], page: SocketAddress, login: str, complaint: str
) -> None:
    with (
        servers.microsocks(LOGIN) as (host, port),
        chainsocks(own_hops[0].url, f"socks5://{login}{host}:{port}", own_hops[1].url) as front,
    ):
        with connect(front.address) as sock:
            assert ask_socks5(sock, page) == 1
            assert read_to_end(sock) == b""
            client = sock.getsockname()
        session = front.session(client)
        assert f"hop hop2 (2 of 3) at {host}:{port}, {complaint}" in session
        assert "alice" not in front.said
        assert "wrong" not in front.said


REFUSALS = [
    pytest.param("microsocks", 5, "it refused {}: connection refused (05)", id="microsocks"),
    pytest.param("danted", 5, "it refused {}: connection refused (05)", id="danted"),
    # ssh never says why: it closes the connection.
    pytest.param("ssh", 1, "the connection was closed during the request", id="ssh"),
]


@pytest.mark.parametrize(("name", "code", "outcome"), REFUSALS)
def test_a_foreign_last_hop_that_is_refused(
    request: pytest.FixtureRequest, closed_port: SocketAddress, name: str, code: int, outcome: str
) -> None:
    [url] = urls(request, (name,))
    with chainsocks(url) as front, connect(front.address) as sock:
        assert ask_socks5(sock, closed_port) == code
        assert read_to_end(sock) == b""
        client = sock.getsockname()
        sock.close()
        session = front.session(client)
        assert f"hop hop1 (1 of 1) at {url.removeprefix('socks5://')}, request: " in session
        assert outcome.format(f"127.0.0.1:{closed_port[1]}") in session


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_hop_that_cannot_reach_the_next(
    request: pytest.FixtureRequest, closed_port: SocketAddress, page: SocketAddress, name: str
) -> None:
    """The client asked for something else, and so is not told of a refusal."""
    [url] = urls(request, (name,))
    with chainsocks(url, f"socks5://127.0.0.1:{closed_port[1]}") as front, connect(front.address) as sock:
        assert ask_socks5(sock, page) == 1
        assert read_to_end(sock) == b""
        client = sock.getsockname()
        sock.close()
        assert f"hop hop1 (1 of 2) at {url.removeprefix('socks5://')}, request: " in front.session(client)
