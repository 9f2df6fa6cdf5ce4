"""What many tests share: targets, our server without hops, and the foreign servers. Each is started once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import servers, targets
from tests.e2e.curl import Curl
from tests.e2e.kerberos import Realm, common_realm
from tests.e2e.programs import SocketAddress, find_module, missing
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import serving


@pytest.fixture(autouse=True)
def no_bugs() -> Iterator[None]:
    """No server that still runs has told of a bug of its own."""
    yield
    for server in servers.running:
        server.check()


@pytest.fixture(scope="session", params=[True, False], ids=["lane", "task"])
def direct(request: pytest.FixtureRequest) -> Iterator[Chainsocks]:
    """Our server, without hops and without users."""
    with chainsocks(lane=request.param) as server:
        yield server


@pytest.fixture(scope="session")
def without_hops() -> Iterator[Chainsocks]:
    """As `direct`, for tests that have their front by its name."""
    with chainsocks() as server:
        yield server


@pytest.fixture(
    scope="module", params=[(0, True), (0, False), (1, False), (3, False)], ids=["lane", "direct", "1-hop", "3-hops"]
)
def front(request: pytest.FixtureRequest, own_hops: list[Chainsocks]) -> Iterator[Chainsocks]:
    """Our server, with so many of our own as its hops."""
    length, lane = request.param
    with chainsocks(*(hop.url for hop in own_hops[:length]), lane=lane) as server:
        yield server


@pytest.fixture(scope="session")
def own_hops() -> Iterator[list[Chainsocks]]:
    """Three of our servers, to be hops."""
    with chainsocks() as first, chainsocks() as second, chainsocks() as third:
        yield [first, second, third]


@pytest.fixture(scope="session")
def page() -> Iterator[SocketAddress]:
    with serving(targets.page) as address:
        yield address


@pytest.fixture(scope="session")
def echo() -> Iterator[SocketAddress]:
    with serving(targets.echo) as address:
        yield address


@pytest.fixture(scope="session")
def source_and_sink() -> Iterator[SocketAddress]:
    with serving(targets.source_and_sink) as address:
        yield address


@pytest.fixture(scope="session")
def ipv6() -> None:
    """Where there is no ::1, there is nothing to test."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        missing(f"there is no ::1 here ({error.strerror})")


@pytest.fixture(scope="session")
def microsocks() -> Iterator[str]:
    with servers.microsocks() as (host, port):
        yield f"socks5://{host}:{port}"


@pytest.fixture(scope="session")
def danted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.danted(tmp_path_factory.mktemp("danted")) as (host, port):
        yield f"socks5://{host}:{port}"


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.ssh(tmp_path_factory.mktemp("ssh")) as (host, port):
        yield f"socks5://{host}:{port}"


@pytest.fixture(scope="session")
def tor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.tor(tmp_path_factory.mktemp("tor")) as (host, port):
        yield f"socks5://{host}:{port}"


@pytest.fixture(scope="session")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A Kerberos realm, with carol and eve in it."""
    find_module("gssapi", "apt install libkrb5-dev, then pip install '.[gssapi]'")
    with common_realm(tmp_path_factory.mktemp("realm")) as made:
        yield made


@pytest.fixture
def closed_port() -> Iterator[SocketAddress]:
    """An address that refuses connections: it is taken, and nobody listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.fixture
def curl(tmp_path: Path) -> Curl:
    return Curl(tmp_path)
