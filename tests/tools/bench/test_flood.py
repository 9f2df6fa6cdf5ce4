"""Load beside a measurement: that it flows, and what is said when it does not."""

from __future__ import annotations

import pytest
import trio

from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.messages import UsernamePassword
from chainsocks.tools.bench.counters import Kind, What
from chainsocks.tools.bench.flood import open_flood
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Way
from tests.background import PATIENCE, Background, Script, wait_until

ANSWERS = (b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6))


def test_it_flows_as_long_as_the_block_lasts(target: Target, hops: tuple[Hop, ...]) -> None:
    way = Way("one", (Hop("one", HopProtocol.SOCKS5, hops[0].address, UsernamePassword(b"a", b"\n\xff")),))

    def received() -> int:
        return target.counters.read(Kind.SINK, What.RECEIVED)

    with open_flood(way, target, streams=2, direction="up") as child:
        before = received()
        wait_until(lambda: received() - before >= 1 << 20)
        wait_until(lambda: target.open_connections == 2)  # one may flow before the other was accepted
    assert child.process.returncode == 0, "it was not killed"
    assert target.wait_until_quiet(PATIENCE)


def test_one_that_cannot_be_opened(target: Target, background: Background) -> None:
    hop = Hop("rude", HopProtocol.SOCKS5, background.listen(Script()))
    way = Way("rude", (hop,), Timeouts(hop=0.2))
    complaint = r"^hop rude \(1 of 1\) at .*, method negotiation: no complete answer"
    with pytest.raises(BenchError, match=complaint), open_flood(way, target, streams=1, direction="up"):
        pass


def test_one_that_breaks_in_the_middle(target: Target, background: Background) -> None:
    """The measurement beside it was not what it is taken for."""

    async def break_off(stream: trio.SocketStream) -> None:
        for answer in ANSWERS:
            await stream.receive_some()
            await stream.send_all(answer)
        await stream.receive_some()

    way = Way("rude", (Hop("rude", HopProtocol.SOCKS5, background.listen(break_off)),))
    with (
        pytest.raises(BenchError, match=r"^rude: a stream broke beside the measurement$"),
        open_flood(way, target, streams=1, direction="up") as child,
    ):
        child.process.wait(PATIENCE)
