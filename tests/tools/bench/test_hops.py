"""Hops of our own: processes that serve, and end."""

from __future__ import annotations

from chainsocks.config.kinds import HopProtocol
from chainsocks.tools.bench.accounting import exists
from chainsocks.tools.bench.hops import open_hops
from chainsocks.tools.bench.sessions import open_idle
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import Way
from tests.background import PATIENCE


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
