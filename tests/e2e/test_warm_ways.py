"""Warm ways over real sockets, through foreign servers that know nothing of them: microsocks, dante and ``ssh -D``."""

from __future__ import annotations

import time

import pytest

from tests.e2e import servers
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import MIB, exchange
from tests.e2e.wire import ask_socks5, connect, connected, read_to_end

WARM = "warm = 2"
LOGIN = "alice:wonderland"


def urls(request: pytest.FixtureRequest, names: tuple[str, ...]) -> list[str]:
    """Start the servers of a chain, unless they run already."""
    return [request.getfixturevalue(name) for name in names]


def exchange_once(front: Chainsocks, target: SocketAddress) -> str:
    """Have one session carry some data; return its line."""
    with connected(front.address, target) as sock:
        exchange(sock, MIB // 4)
        client = sock.getsockname()
    return front.session(client)


def warm_up(front: Chainsocks, target: SocketAddress) -> None:
    """Have sessions until one finds a way that is ready; the first one does not."""
    assert " warm=1 " not in exchange_once(front, target)
    deadline = time.monotonic() + PATIENCE
    while " warm=1 " not in exchange_once(front, target):
        assert time.monotonic() < deadline, "no way has become ready"
        time.sleep(0.05)
    time.sleep(0.5)  # for the next one to be ready


@pytest.mark.parametrize(
    "names",
    [
        ("microsocks",),
        ("danted",),
        ("ssh",),
        ("microsocks", "danted", "ssh"),
        ("ssh", "microsocks", "danted"),
        ("danted", "ssh", "microsocks"),
    ],
    ids="-".join,
)
def test_foreign_hops(request: pytest.FixtureRequest, source_and_sink: SocketAddress, names: tuple[str, ...]) -> None:
    with chainsocks(*urls(request, names), chain=WARM) as front:
        warm_up(front, source_and_sink)
        lines: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while len(lines) < 4 or not any(" warm=1 " in line for line in lines):
            assert time.monotonic() < deadline, "no way has become ready"
            lines.append(exchange_once(front, source_and_sink))
            time.sleep(0.05)
        assert all('outcome="finished"' in line for line in lines)


@pytest.mark.parametrize("place", [0, 1], ids=["first", "last"])
def test_a_login_is_made_beforehand(own_hops: list[Chainsocks], source_and_sink: SocketAddress, place: int) -> None:
    with servers.microsocks(LOGIN) as (host, port):
        hops = [own_hops[0].url]
        hops.insert(place, f"socks5://{LOGIN}@{host}:{port}")
        with chainsocks(*hops, chain=WARM) as front:
            warm_up(front, source_and_sink)


@pytest.mark.parametrize(
    ("name", "code", "outcome"),
    [
        ("microsocks", 5, "it refused {}: connection refused (05)"),
        ("danted", 5, "it refused {}: connection refused (05)"),
        ("ssh", 1, "the connection was closed during the request"),  # it never says why, and is asked twice
    ],
)
def test_a_refusal_on_a_warm_way(
    request: pytest.FixtureRequest,
    source_and_sink: SocketAddress,
    closed_port: SocketAddress,
    name: str,
    code: int,
    outcome: str,
) -> None:
    [url] = urls(request, (name,))
    with chainsocks(url, chain=WARM) as front:
        warm_up(front, source_and_sink)
        with connect(front.address) as sock:
            assert ask_socks5(sock, closed_port) == code
            assert read_to_end(sock) == b""
            client = sock.getsockname()
        session = front.session(client)
        assert f"hop hop1 (1 of 1) at {url.removeprefix('socks5://')}, request: " in session
        assert outcome.format(f"127.0.0.1:{closed_port[1]}") in session
