"""Hops of our own: processes that serve, and end."""

from __future__ import annotations

from pathlib import Path

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.tls import Tls, parse_pin
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.accounting import exists
from chainsocks.tools.bench.hops import open_hops
from chainsocks.tools.bench.run import open_subjects
from chainsocks.tools.bench.sessions import open_idle
from chainsocks.tools.bench.target import LOOPBACK, Target
from chainsocks.tools.bench.way import Way, local_host
from chainsocks.tools.certificates import make_certificate
from tests.background import PATIENCE
from tests.e2e.servers import chainsocks


def test_they_serve_as_a_chain_and_end_with_their_block(target: Target) -> None:
    with open_hops(2) as running:
        assert [one.hop.name for one in running] == ["hop 1", "hop 2"]
        assert {one.hop.protocol for one in running} == {HopProtocol.SOCKS5}
        assert len({one.pid for one in running} | {one.hop.address for one in running}) == 4
        with open_idle(Way("both", tuple(one.hop for one in running)), target, 3):
            assert target.open_connections == 3
        # They end while sessions are open, too: the grace of a server does not apply.
        with open_idle(Way("first", (running[0].hop,)), target, 1):
            pass
    assert not any(exists(one.pid) for one in running)
    assert target.wait_until_quiet(PATIENCE)


def test_none_is_none() -> None:
    with open_hops(0) as running:
        assert running == ()


def test_a_front_speaks_tls(target: Target, tmp_path: Path) -> None:
    made, pem = make_certificate("hop.example", 1), tmp_path / "hop.pem"
    pem.write_bytes(made.key + made.pem)
    pem.chmod(0o600)
    with chainsocks(listen=[f'{{ address = "127.0.0.1:0", tls = {{ cert = "{pem}" }} }}']) as server:
        tls = Tls(pins=(parse_pin(made.certificate.pin),))
        hop = Hop("secret", HopProtocol.SOCKS5, Address(*server.address), tls=tls)
        with open_subjects([hop], (), 1) as (direct, subject):
            assert (direct.way.hops, subject.way.name, subject.pids) == ((), "proxy, by a front", ())
            assert (subject.way.behind, local_host(subject.way)) == ((hop,), LOOPBACK)
            with open_idle(subject.way, target, 3):
                assert target.open_connections == 3
        with open_subjects([hop], (1,), 1) as (_, subject):
            assert len(subject.pids) == 2
    assert server.said.count(" reply=00 ") == 3
