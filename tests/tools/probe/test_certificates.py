"""Hops in TLS in a probe: what it says of their certificates, and what to do about those that are not accepted."""

from __future__ import annotations

import io
import json
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from rich.console import Console

from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.tls import Tls, show_pin
from chainsocks.errors import Step
from chainsocks.net.pins import pin_of
from chainsocks.tools.probe.document import as_json
from chainsocks.tools.probe.findings import Kind, ProbeReport
from chainsocks.tools.probe.report import show
from chainsocks.tools.probe.run import Target, probe_all
from tests.certificates import Authority, authority
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork
from tests.tools.probe.probing import DESTINATION, TIMEOUTS, say_nothing

HOP = make_hop(1)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("certificates") / "ca.pem"
    path.write_bytes(authority().ca.cert_pem.bytes())
    return str(path)


def lasting(days: int) -> ssl.SSLContext:
    """A server whose certificate is valid for some days, and some hours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    until = datetime.now(UTC) + timedelta(days=days, hours=5)
    authority().ca.issue_cert("paris.example", "192.0.2.1", not_after=until).configure_cert(context)
    return context


def pin_of_server(context: ssl.SSLContext) -> bytes:
    bios = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    ours, theirs = client.wrap_bio(*bios), context.wrap_bio(bios[1], bios[0], server_side=True)
    for side in (ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return pin_of(ours.getpeercert(binary_form=True) or b"")


async def probed(
    nursery: trio.Nursery, server: ssl.SSLContext, tls: Tls, trouble: Trouble | None = None, hop: Hop = HOP
) -> ProbeReport:
    network = MemoryNetwork(nursery, {DESTINATION: Host(say_nothing)})
    hop = replace(hop, tls=tls)
    add_hop(network, hop, trouble, tls=server)
    target = Target(Kind.CHAIN, "default", Chain(hop), DESTINATION)
    [report] = await probe_all([target], dialer_of(network, TIMEOUTS))
    return report


def shown(report: ProbeReport) -> str:
    output = io.StringIO()
    show(report, Console(file=output, width=80, markup=False, emoji=False, highlight=False))
    return output.getvalue()


async def test_what_it_shows(nursery: trio.Nursery, ca: str) -> None:
    report = await probed(nursery, lasting(41), Tls("paris.example", ca))
    assert """
hop             TLS      certificate for           days left
paris (1 of 1)  TLSv1.3  paris.example, 192.0.2.1         41
""" in "\n".join(line.rstrip() for line in shown(report).splitlines())
    [hop] = json.loads(as_json([report], fine=True))["probes"][0]["hops"]
    assert hop["tls"] == {"version": "TLSv1.3", "names": ["paris.example", "192.0.2.1"], "days": 41, "pin": None}


async def test_a_certificate_that_only_its_pin_vouches_for(nursery: trio.Nursery) -> None:
    server = Authority().server("lima.example", expired=timedelta(days=3, hours=5))
    pin = pin_of_server(server)
    report = await probed(nursery, server, Tls(pins=(pin,)))
    assert report.fine
    [hop] = json.loads(as_json([report], fine=True))["probes"][0]["hops"]
    assert hop["tls"] == {"version": "TLSv1.3", "names": ["lima.example"], "days": -4, "pin": show_pin(pin)}


async def test_another_pin_is_ready_to_paste(nursery: trio.Nursery) -> None:
    server = authority().server()
    text = shown(await probed(nursery, server, Tls(pins=(bytes(32),))))
    pin = show_pin(pin_of_server(server))
    compare, paste, otherwise = [line for line in text.splitlines() if line.startswith("  - ")][:3]
    assert "compare the pin with `chainsocks cert --show FILE` at the hop itself" in compare
    assert paste == f'  - if equal: pin = "{pin}"'
    assert "another server is in between" in otherwise


def valid() -> ssl.SSLContext:
    return lasting(1)


ADVICE: dict[str, tuple[Callable[[], ssl.SSLContext], Trouble | None, str]] = {
    "another name": (lambda: authority().server("lima.example"), None, "set `name` in its `tls` to a name of its"),
    "expired": (
        lambda: authority().server("hop.example", expired=timedelta(days=3)),
        None,
        "the hop's owner has to renew the certificate",
    ),
    "unknown authority": (lambda: Authority().server("hop.example"), None, "cert --show 10.0.0.1:1080` prints the pin"),
    "mute": (valid, Trouble(Step.TLS, Fault.MUTE), "no TLS came: is 1080 a port with TLS?"),
    "an end": (valid, Trouble(Step.TLS, Fault.FIN), "ended the connection in the handshake: is 1080 a port"),
    "no TLS": (valid, Trouble(Step.TLS, Fault.GARBAGE), "If it has no TLS, take `tls` out"),
}


@pytest.mark.parametrize(("server", "trouble", "advice"), ADVICE.values(), ids=ADVICE)
async def test_advice(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    ca: str,
    server: Callable[[], ssl.SSLContext],
    trouble: Trouble | None,
    advice: str,
) -> None:
    report = await probed(nursery, server(), Tls("hop.example", ca), trouble)
    assert not report.fine
    text = " ".join(shown(report).split())
    assert advice in text
