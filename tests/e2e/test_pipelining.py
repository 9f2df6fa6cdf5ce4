"""Pipelined dials over real sockets: through chains of our own servers, and what foreign ones keep."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest
import trio

import chainsocks
from chainsocks.chain.pipeline_check import Support, check_pipelining
from chainsocks.client.network import AnyioNetwork
from chainsocks.config.hops import parse_hop_url
from chainsocks.config.models import Timeouts
from tests.e2e import servers
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks
from tests.e2e.targets import MIB, exchange
from tests.e2e.wire import connected

KEEPS, LOSES, UNKNOWN = Support
LOGIN = {"alice": "wonderland"}


@pytest.fixture(scope="module")
def strict_pair() -> Iterator[list[Chainsocks]]:
    """Two servers that require a login; one server does not connect to itself."""
    with servers.chainsocks(users=LOGIN) as one, servers.chainsocks(users=LOGIN) as other:
        yield [one, other]


@pytest.fixture(scope="module")
def strict(strict_pair: list[Chainsocks]) -> Chainsocks:
    return strict_pair[0]


def url_of(kind: str, open_hop: Chainsocks, strict: Chainsocks) -> str:
    """A hop by letter: 4, a (4a), 5, or L, which wants a login."""
    if kind == "L":
        return strict.url.replace("://", "://alice:wonderland@")
    return open_hop.url.replace("socks5", {"4": "socks4", "a": "socks4a", "5": "socks5"}[kind])


@pytest.mark.parametrize(
    ("pipeline", "kinds"),
    [("hop", "L4a5"), ("chain", "5"), ("chain", "LL"), ("chain", "a5L"), ("chain", "L4a5"), ("chain", "a4LL5")],
)
def test_a_chain_of_our_own(
    own_hops: list[Chainsocks], strict_pair: list[Chainsocks], source_and_sink: SocketAddress, kinds: str, pipeline: str
) -> None:
    """Our server is the front and all hops, and keeps what comes behind any of its messages."""
    hops = [url_of(kind, own_hops[number % 3], strict_pair[number % 2]) for number, kind in enumerate(kinds)]
    with (
        servers.chainsocks(*hops, chain=f'pipeline = "{pipeline}"') as front,
        connected(front.address, source_and_sink) as sock,
    ):
        exchange(sock, MIB)


def test_a_refusal_comes_through(own_hops: list[Chainsocks], strict: Chainsocks, page: SocketAddress) -> None:
    """The hop that refuses has been sent more than it reads; its refusal is not lost over that."""
    wrong = strict.url.replace("://", "://alice:rabbit@")
    chain = chainsocks.Chain(own_hops[0].url, wrong, own_hops[1].url, pipeline="chain")

    async def main() -> None:
        for _ in range(20):
            with pytest.raises(chainsocks.HopAuthenticationError, match=r"\(2 of 3\).*it refused our username"):
                await chainsocks.connect_tcp(*page, chain=chain)

    trio.run(main)


@pytest.mark.parametrize("names", list(permutations(["danted", "ssh"])), ids="-".join)
def test_foreign_hops_that_keep_everything(
    request: pytest.FixtureRequest, own_hops: list[Chainsocks], source_and_sink: SocketAddress, names: tuple[str, ...]
) -> None:
    hops = [*(request.getfixturevalue(name) for name in names), own_hops[0].url]
    with (
        servers.chainsocks(*hops, chain='pipeline = "chain"') as front,
        connected(front.address, source_and_sink) as sock,
    ):
        exchange(sock, MIB)


@pytest.mark.parametrize(
    ("name", "own", "behind"),
    [
        ("chainsocks", KEEPS, KEEPS),
        ("microsocks", LOSES, UNKNOWN),
        ("danted", KEEPS, KEEPS),
        ("ssh", KEEPS, KEEPS),
        ("tor", KEEPS, UNKNOWN),
    ],
)
def test_what_is_found_out(
    request: pytest.FixtureRequest, own_hops: list[Chainsocks], name: str, own: Support, behind: Support
) -> None:
    """As README.md has it. The target is one of ours: dante does not connect to itself, and tor to nobody here."""
    hop = parse_hop_url(own_hops[0].url if name == "chainsocks" else request.getfixturevalue(name))
    target = parse_hop_url(own_hops[1].url).address
    limit = 2 if own is LOSES else PATIENCE  # what is lost is waited for in vain
    found = trio.run(lambda: check_pipelining(hop, Timeouts(hop=limit), AnyioNetwork(), target=target))
    assert (found.own, found.behind) == (own, behind), found.reason
