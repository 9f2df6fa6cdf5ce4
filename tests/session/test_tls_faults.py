"""Every fault of the TLS handshake, at every hop of a chain of three: what the client gets, when, and what is blamed.

The faults of the steps inside TLS are those of `tests.session.test_faults`; here one of each shows that TLS, in one
layer and in three, changes neither the time nor the blame.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config
from chainsocks.config.tls import Tls, show_pin
from chainsocks.errors import Step
from chainsocks.net.pins import pin_of
from chainsocks.protocol.handshake import State
from tests.certificates import Authority, authority
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream
from tests.session.asking import DESTINATION, NAMES, TIMEOUTS, ask_a_session, echo

TLS, METHOD, LOGIN, REQUEST = Step.TLS, State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST


@cache
def honest() -> ssl.SSLContext:
    return authority().server("hop.example")


@cache
def other_authority() -> ssl.SSLContext:
    return Authority().server("hop.example")


@cache
def other_name() -> ssl.SSLContext:
    return authority().server("lima.example", "192.0.2.1")


@cache
def expired() -> ssl.SSLContext:
    return authority().server("hop.example", expired=timedelta(days=3, hours=1))


@cache
def wants_certificate() -> ssl.SSLContext:
    return authority().server("hop.example", asks_clients=True)


@cache
def wants_certificate_in_1_2() -> ssl.SSLContext:
    context = authority().server("hop.example", asks_clients=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@cache
def old() -> ssl.SSLContext:
    context = authority().server("hop.example")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    ca = tmp_path_factory.mktemp("certificates") / "ca.pem"
    ca.write_bytes(authority().ca.cert_pem.bytes())
    return Tls("hop.example", str(ca))


@dataclass(frozen=True)
class Case:
    """What comes of a fault: where it is found, after how many seconds, and what is said."""

    server: Callable[[], ssl.SSLContext]
    says: str
    trouble: Trouble | None = None
    found: Step | State = TLS
    seconds: float = 0


CERTIFICATES = {
    "another name": Case(other_name, "its certificate is for lima.example, 192.0.2.1, and not for hop.example"),
    "expired": Case(expired, "its certificate expired 3 days ago"),
    "unknown authority": Case(other_authority, "its certificate is not trusted: unable to get local issuer"),
    "wants a certificate": Case(wants_certificate, "it requires a client certificate", found=METHOD),
    "wants a certificate, TLS 1.2": Case(wants_certificate_in_1_2, "it ended TLS with the alert: handshake failure"),
}
FAULTS = {
    "mute": Case(honest, "no complete answer", Trouble(TLS, Fault.MUTE), seconds=1.5),
    "drip": Case(honest, "no complete answer", Trouble(TLS, Fault.DRIP), seconds=1.5),
    "reset": Case(honest, "the connection was reset", Trouble(TLS, Fault.RESET)),
    "end": Case(honest, "the connection ended without TLS's own end", Trouble(TLS, Fault.FIN)),
    "plain HTTP": Case(honest, "it does not speak TLS; it looks like an HTTP ", Trouble(TLS, Fault.GARBAGE)),
    "plain SOCKS5": Case(honest, "it does not speak TLS; it looks like SOCKS5", Trouble(TLS, Fault.REFUSAL)),
}
INSIDE = {
    "mute, method": Case(honest, "no complete answer", Trouble(METHOD, Fault.MUTE), METHOD, 1.5),
    "reset, login": Case(honest, "the connection was reset", Trouble(LOGIN, Fault.RESET), LOGIN),
    "cut, request": Case(honest, "the connection ended without TLS's own end", Trouble(REQUEST, Fault.FIN), REQUEST),
    "garbage, request": Case(honest, "TLS failed: ", Trouble(REQUEST, Fault.GARBAGE), REQUEST),
    "cut, method, TLS 1.2": Case(old, "the connection ended without TLS's own end", Trouble(METHOD, Fault.FIN), METHOD),
}
CASES = CERTIFICATES | FAULTS | INSIDE


def chain_in_tls(tls: Tls) -> list[Hop]:
    return [replace(make_hop(number), tls=tls) for number in (1, 2, 3)]


async def blame(network: MemoryNetwork, hops: list[Hop], caplog: pytest.LogCaptureFixture) -> tuple[bytes, float, str]:
    """Dial through the hops, and return the reply, when it came, and the line in the log."""
    caplog.set_level(logging.INFO, "chainsocks")
    chain = Chain(*hops, seal=all(hop.tls for hop in hops))
    reply, seconds = await ask_a_session(network, Config(timeouts=TIMEOUTS, chains={"default": chain}))
    [record] = caplog.records
    return reply, seconds, record.getMessage().replace('\\"', '"').replace("\\\\", "\\")


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_fault_is_answered_in_time_and_blamed_on_its_hop(
    case: Case,
    position: int,
    tls: Tls,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, hops = MemoryNetwork(nursery, {DESTINATION: Host(echo)}), chain_in_tls(tls)
    for number, hop in enumerate(hops, 1):
        is_bad = number == position
        add_hop(network, hop, case.trouble if is_bad else None, tls=case.server() if is_bad else honest())
    reply, seconds, line = await blame(network, hops, caplog)
    assert reply == bytes((5, 6 if case.seconds else 1, 0, 1, 0, 0, 0, 0, 0, 0))
    assert seconds == case.seconds
    assert f"hop {NAMES[position - 1]} ({position} of 3) at 10.0.0.{position}:1080, {case.found}: {case.says}" in line
    assert f"({case.seconds:.2f} s of {TIMEOUTS.hop:g} s)" in line
    if position > 1 and not case.seconds:
        assert f"(as seen through {NAMES[position - 2]})" in line


@pytest.mark.parametrize("pipeline", Pipeline)
@pytest.mark.parametrize("in_tls", [(1, 2, 3), (2,), (1, 3)])
async def test_pipelining_goes_as_far_as_tls_lets_it(
    pipeline: Pipeline,
    in_tls: tuple[int, ...],
    tls: Tls,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    network = MemoryNetwork(nursery, {DESTINATION: Host(leave)})
    hops = [replace(make_hop(number), tls=tls if number in in_tls else None) for number in (1, 2, 3)]
    for hop in hops:
        add_hop(network, hop, tls=honest() if hop.tls else None)
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops, pipeline=pipeline)})
    reply, seconds = await ask_a_session(network, config)
    assert (reply[:2], seconds) == (b"\x05\x00", 0), caplog.text


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("is_right", [True, False])
async def test_a_pin_decides(
    position: int,
    is_right: bool,  # noqa: FBT001
    tls: Tls,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of a certificate that no authority, name and date speaks for."""
    leaf = Authority().ca.issue_cert("lima.example", not_after=None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    pin = pin_of(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode()))
    network, hops = MemoryNetwork(nursery, {DESTINATION: Host(leave)}), chain_in_tls(tls)
    hops[position - 1] = replace(hops[position - 1], tls=Tls(pins=(bytes(32), pin if is_right else bytes(32))))
    for number, hop in enumerate(hops, 1):
        add_hop(network, hop, tls=context if number == position else honest())
    reply, seconds, line = await blame(network, hops, caplog)
    assert (reply[:2], seconds) == (b"\x05" + bytes((not is_right,)), 0)
    if is_right:
        return
    assert f"({position} of 3) at 10.0.0.{position}:1080, TLS handshake: its pin does not match: got " in line
    assert show_pin(pin) in line


async def leave(stream: MemoryStream) -> None:
    """Be a destination that ends at once."""
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("protocol", [HopProtocol.SOCKS5, HopProtocol.HTTP])
async def test_tls_where_it_is_not_expected(
    position: int,
    protocol: HopProtocol,
    tls: Tls,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The hop speaks TLS, and is not spoken to in it: OpenSSL answers with an alert."""
    network, hops = MemoryNetwork(nursery, {DESTINATION: Host(echo)}), chain_in_tls(tls)
    hops[position - 1] = bad = make_hop(position, protocol)
    for number, hop in enumerate(hops, 1):
        add_hop(network, hop, tls=honest() if number != position else None)

    async def alert(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x15\x03\x01\x00\x02\x02\x46")

    network.hosts[bad.address] = Host(alert)
    reply, seconds, line = await blame(network, hops, caplog)
    assert (reply[:2], seconds) == (b"\x05\x01", 0)
    step = METHOD if protocol is HopProtocol.SOCKS5 else REQUEST
    assert f"({position} of 3) at 10.0.0.{position}:1080, {step}: " in line
    assert "looks like a TLS alert" in line
