"""What becomes of a dial whose client leaves; over real sockets in tests/server/test_leaving_clients.py."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.models import Config, Timeouts
from chainsocks.net.polled import PolledStream
from chainsocks.net.poller import READ_EVENTS, RESET_EVENT, open_poller
from chainsocks.session.client_watch import GRACE, has_left
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host
from tests.net.sockets import reset, tcp_pair
from tests.session.serving import CONNECT5, GRANTED5, echo, session

Log = pytest.LogCaptureFixture
PARIS, OSAKA = make_hop(1), make_hop(2)
SLOW = Host(echo, delay=8)
LEFT = "the client left before its reply"
FINISHED = "the client finished its side, and may have left"


async def test_a_reset_ends_the_dial_at_once(autojump_clock: MockClock, caplog: Log) -> None:
    async with session(caplog, destination=SLOW) as client:
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00")
        await trio.sleep(1)
        client.stream.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert LEFT in client.line
    assert "duration=1.000" in client.line


async def test_a_client_that_finishes_its_side_leaves_the_dial_a_few_seconds(
    autojump_clock: MockClock, caplog: Log
) -> None:
    async with session(caplog, destination=SLOW) as client:
        await client.send("05 01 00", CONNECT5)
        await trio.sleep(1)
        await client.stream.send_eof()
        await client.expect("05 00" + "05 06 00 01 00000000 0000")
        assert trio.current_time() == 1 + GRACE
    assert FINISHED in client.line


async def test_a_dial_that_is_quick_enough_serves_a_client_that_only_listens(
    autojump_clock: MockClock, caplog: Log
) -> None:
    async with session(caplog, destination=Host(echo, delay=2)) as client:
        await client.send("05 01 00", CONNECT5)
        await client.stream.send_eof()
        await client.expect("05 00" + GRANTED5)
        await client.expect_end()
    assert "finished" in client.line


async def test_data_behind_the_request_makes_it_a_half_close(autojump_clock: MockClock, caplog: Log) -> None:
    async with session(caplog, destination=SLOW) as client:
        await client.send("05 01 00", CONNECT5, b"hello")
        await client.stream.send_eof()
        await client.expect("05 00" + GRANTED5)
        assert trio.current_time() == 8
        await client.expect(b"hello")
        await client.expect_end()
    assert "finished" in client.line


async def test_no_other_member_is_tried_for_it_and_none_is_blamed(autojump_clock: MockClock, caplog: Log) -> None:
    """Three silent hops were tried for 9.3 s, and then in backoff."""
    chain = Chain(Group(PARIS, OSAKA))
    async with session(caplog, Config(chains={"default": chain}, timeouts=Timeouts(connect=20, dial=60))) as client:
        for hop in (PARIS, OSAKA):
            add_hop(client.network, hop, Trouble(CONNECT, Fault.MUTE))
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00")
        await trio.sleep(1)
        await client.stream.send_eof()
        await trio.sleep(20)
        assert [address for _, address in client.network.connects] == [PARIS.address]
    assert "backoff" not in caplog.text


@pytest.mark.parametrize("early_data", [b"", b"early"])
async def test_a_reset_behind_an_end_is_noted(early_data: bytes) -> None:
    """The events tell of the end alone; the look for data behind it takes the reset from the kernel."""
    near, far = tcp_pair()
    async with open_poller() as poller:
        assert poller
        stream = PolledStream(near, poller)
        reset(far)
        assert has_left(stream, READ_EVENTS & ~RESET_EVENT, early_data)
        assert stream.was_reset
        await stream.aclose()
