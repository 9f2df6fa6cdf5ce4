"""Sessions through chains that leave a choice: the client notices nothing, and the log tells who was chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pick
from chainsocks.config.groups import Group
from chainsocks.config.models import Config, Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import WatchedNetwork
from tests.session.serving import BIND5, CONNECT5, GRANTED5, SECOND5, Client, session

PARIS, OSAKA, LIMA = (make_hop(number) for number in (1, 2, 3))
EXITS = Group(OSAKA, LIMA, name="exits")
NO_MORE_THAN = Timeouts(hop=1.5, dial=9)


def config_of(chain: Chain) -> Config:
    return Config(timeouts=NO_MORE_THAN, chains={"default": chain})


def add_hops(client: Client, osaka: Trouble | None) -> None:
    """Put the hops behind the network as the session sees it."""
    world = WatchedNetwork(client.network, "10.0.0.99")
    world.hosts = client.network.hosts
    add_hop(world, PARIS)
    add_hop(world, OSAKA, osaka)
    add_hop(world, LIMA)


@pytest.mark.parametrize("step", [State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST])
@pytest.mark.parametrize("fault", [Fault.MUTE, Fault.RESET, Fault.FIN, Fault.GARBAGE])
async def test_the_client_notices_nothing(
    step: str, fault: Fault, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with session(caplog, config_of(Chain(PARIS, EXITS))) as client:
        add_hops(client, Trouble(step, fault))
        await client.send("05 01 00", CONNECT5, b"early")
        await client.expect("05 00" + GRANTED5)
        await client.expect(b"early")
        await client.stream.send_eof()
        await client.expect_end()
    line = next(line for line in caplog.messages if line.startswith("id="))
    assert "chain=default hops=paris,lima reply=00" in line
    assert 'outcome="finished"' in line


async def test_the_limit_of_the_handshake_ends_with_it(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """The dial may take longer than the client had for its request, by the times that each attempt has of its own."""
    config = replace(config_of(Chain(EXITS)), timeouts=Timeouts(handshake=2, hop=5, dial=9))
    async with session(caplog, config) as client:
        add_hops(client, Trouble(State.METHOD_NEGOTIATION, Fault.MUTE))
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
        assert trio.current_time() == 5
        await client.stream.send_eof()
        await client.expect_end()


async def test_the_log_has_all_tries_of_a_request_that_failed(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with session(caplog, config_of(Chain(Group(OSAKA, PARIS, name="exits")))) as client:
        add_hops(client, Trouble(State.METHOD_NEGOTIATION, Fault.MUTE))
        add_hop(client.network, PARIS, Trouble(State.SUB_NEGOTIATION, Fault.REFUSAL))
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00 05 01 00 01 00000000 0000")
    line = next(line for line in caplog.messages if line.startswith("id="))
    assert "hops=" not in line
    assert "hop paris (1 of 1)" in line
    assert "; before that, hop osaka (1 of 1) at 10.0.0.2:1080, method negotiation: no complete answer" in line


async def test_a_client_that_has_to_wait_for_all_tries_is_told_in_time(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    hops = [replace(make_hop(1), name=f"hop{n}", address=Address(f"10.0.1.{n}", 1080)) for n in range(20)]
    async with session(caplog, config_of(Chain(Group(*hops)))) as client:
        for hop in hops:
            add_hop(client.network, hop, Trouble(State.METHOD_NEGOTIATION, Fault.MUTE))
        began = trio.current_time()
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00 05 06 00 01 00000000 0000")
        assert trio.current_time() - began == 9


async def test_a_port_for_a_peer_fails_over_as_well(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with session(caplog, config_of(Chain(EXITS))) as client:
        add_hops(client, Trouble(State.REQUEST, Fault.MUTE))
        await client.send(BIND5)
        await client.expect("05 00 05 00 00 01 0a000003 c352")
        [lima] = [port for port in client.network.ports if port.host == "10.0.0.3"]
        peer = client.network.call(lima, Address("192.0.2.80", 20))
        await client.expect(SECOND5)
        await peer.send(b"from the peer")
        await client.expect(b"from the peer")
        await peer.aclose()
        await client.stream.send_eof()
    assert any("hops=lima" in line for line in caplog.messages)


async def test_the_same_client_keeps_its_hop(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain(Group(PARIS, OSAKA, LIMA, name="exits", pick=Pick.STICKY))
    for _ in range(5):
        async with session(caplog, config_of(chain)) as client:
            add_hops(client, None)
            await client.send("05 01 00", CONNECT5)
            await client.expect("05 00" + GRANTED5)
    chosen = {line.partition("hops=")[2].split()[0] for line in caplog.messages}
    assert len(chosen) == 1
