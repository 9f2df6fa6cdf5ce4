"""TLS sessions that are resumed with a hop: where they may be, once each, and never across isolation or in a seal."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
import trio
from anyio.abc import ByteStream

from chainsocks.chain.legs import Leg
from chainsocks.chain.operations import open_connection
from chainsocks.chain.readiness import make_ready
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Isolate
from chainsocks.config.hops import Hop
from chainsocks.config.models import Timeouts
from chainsocks.config.tls import HopContext, Tls, context_of
from chainsocks.net.pins import pin_of
from chainsocks.net.tls import TlsStream
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.messages import IsolationLogin, UsernamePassword
from tests.certificates import Authority, authority
from tests.dialing import dialer_of
from tests.hops import add_hop, make_hop, way_of
from tests.memory import Host, MemoryNetwork, MemoryStream

DESTINATION = Address("192.0.2.80", 80)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


async def stay(stream: MemoryStream) -> None:
    await trio.sleep_forever()


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """Of a file of its own, and so with a context of its own."""
    (tmp_path / "ca.pem").write_bytes(authority().ca.cert_pem.bytes())
    return Tls("hop.example", str(tmp_path / "ca.pem"))


@pytest.fixture(scope="module", params=VERSIONS, ids=["1.2", "1.3"])
def server(request: pytest.FixtureRequest) -> ssl.SSLContext:
    context = authority().server("hop.example")
    context.minimum_version = context.maximum_version = request.param
    return context


async def resumed(
    nursery: trio.Nursery, chain: Chain, server: ssl.SSLContext | Sequence[ssl.SSLContext], dials: int = 3
) -> list[list[bool]]:
    """Dial one after the other; return for each dial which of its hops has resumed a session."""
    network = MemoryNetwork(nursery, {DESTINATION: Host(stay)})
    dialer, route = dialer_of(network, Timeouts()), way_of(chain)
    found = []
    for number in range(dials):
        for hop in route.hops:
            add_hop(network, hop, tls=server if isinstance(server, ssl.SSLContext) else server[number])
        streams: list[bool] = []

        def note(leg: Leg, stream: TlsStream, streams: list[bool] = streams) -> None:
            assert stream.certificate
            streams.append(stream.is_resumed)

        trip = dialer.trip(route, DESTINATION)
        trip.on_tls = note
        upstream = await trip.run(open_connection)
        await anyio.aclose_forcefully(upstream.stream)
        found.append(streams)
    return found


async def test_a_warm_way_has_its_tls_before_the_request(
    nursery: trio.Nursery, tls: Tls, server: ssl.SSLContext
) -> None:
    network = MemoryNetwork(nursery, {DESTINATION: Host(stay)})
    route, dialer = (
        way_of(Chain(*(replace(make_hop(number), tls=tls) for number in (1, 2)))),
        dialer_of(network, Timeouts()),
    )
    for hop in route.hops:
        add_hop(network, hop, tls=server)
    positions: list[int] = []

    def note(leg: Leg, stream: TlsStream) -> None:
        positions.append(leg.position)

    async def hand_over(_: Route) -> ByteStream:
        return way

    making = dialer.trip(route, UNSPECIFIED)
    making.on_tls = note
    way = await making.run(make_ready)
    assert positions == [1, 2]
    asking = dialer.trip(route, DESTINATION, warm=hand_over)
    asking.on_tls = note
    upstream = await asking.run(open_connection)
    assert asking.is_warm
    assert positions == [1, 2]
    await anyio.aclose_forcefully(upstream.stream)


async def test_each_hop_resumes_its_own(nursery: trio.Nursery, tls: Tls, server: ssl.SSLContext) -> None:
    chain = Chain(*(replace(make_hop(number), tls=tls) for number in (1, 2, 3)))
    assert await resumed(nursery, chain, server) == [[False] * 3, [True] * 3, [True] * 3]


async def test_a_seal_resumes_nothing(nursery: trio.Nursery, tls: Tls, server: ssl.SSLContext) -> None:
    hops = [replace(make_hop(number), tls=tls) for number in (1, 2)]
    assert await resumed(nursery, Chain(*hops, seal=True), server) == [[False] * 2] * 3
    assert await resumed(nursery, Chain(*hops), server, 1) == [[False] * 2], "what it has left behind"
    assert await resumed(nursery, Chain(*hops, seal=True), server, 1) == [[False] * 2], "nor what others have"


ISOLATED = {
    "not derived yet": {"credentials": None, "isolate": Isolate.SESSION},
    "derived": {"credentials": IsolationLogin(b"a", b"b")},
}


@pytest.mark.parametrize("change", ISOLATED.values(), ids=ISOLATED)
@pytest.mark.parametrize("position", [0, 1])
async def test_isolation_resumes_nothing_at_any_hop(
    nursery: trio.Nursery, tls: Tls, server: ssl.SSLContext, change: dict[str, object], position: int
) -> None:
    hops: list[Hop] = [replace(make_hop(number), tls=tls) for number in (1, 2)]
    assert await resumed(nursery, Chain(*hops), server, 1) == [[False] * 2]
    hops[position] = replace(hops[position], **change)  # type: ignore[arg-type]
    assert await resumed(nursery, Chain(*hops), server) == [[False] * 2] * 3


async def test_two_logins_do_not_share_one(nursery: trio.Nursery, tls: Tls, server: ssl.SSLContext) -> None:
    hop = replace(make_hop(1), tls=tls)
    assert await resumed(nursery, Chain(hop), server, 1) == [[False]]
    other = replace(hop, credentials=UsernamePassword(b"alice", b"pw"))
    assert await resumed(nursery, Chain(other), server, 1) == [[False]]


async def test_a_hop_that_has_forgotten(nursery: trio.Nursery, tls: Tls) -> None:
    """Another certificate has other tickets: the handshake is a whole one, and the certificate is verified."""
    hop = replace(make_hop(1), tls=tls)
    contexts = [authority().server("hop.example") for _ in range(3)]
    assert await resumed(nursery, Chain(hop), contexts) == [[False]] * 3
    bad = [contexts[0], Authority().server("hop.example")]
    with pytest.raises(Exception, match="its certificate is not trusted"):
        await resumed(nursery, Chain(hop), bad, 2)


async def test_a_pin_is_compared_again(nursery: trio.Nursery, server: ssl.SSLContext) -> None:
    probe = HopContext(ssl.PROTOCOL_TLS_CLIENT)
    probe.check_hostname, probe.verify_mode = False, ssl.CERT_NONE
    network = MemoryNetwork(nursery)
    add_hop(network, make_hop(1), tls=server)
    stream = TlsStream(await network.open_tcp(make_hop(1).address), probe)
    await stream.handshake()
    hop = replace(make_hop(1), tls=Tls(pins=(pin_of(stream.certificate),)))
    await stream.aclose()
    assert await resumed(nursery, Chain(hop), server) == [[False], [True], [True]]


async def test_a_session_is_used_once_and_few_are_kept(
    nursery: trio.Nursery, tls: Tls, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    hop, context = replace(make_hop(1), tls=tls), context_of(tls)
    await resumed(nursery, Chain(hop), server, 1)
    session = context.take_session(hop.identity)
    assert session
    assert context.take_session(hop.identity) is None
    monkeypatch.setattr("chainsocks.config.tls._SESSIONS", 2)
    for name in "abc":
        context.keep_session(name, session)
    context.keep_session("d", None)
    assert [context.take_session(name) is session for name in "abcd"] == [False, True, True, False]
