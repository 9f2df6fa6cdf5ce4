"""Several logins at one gateway: what counts for its address, and what for one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import trio
from anyio import aclose_forcefully
from trio.testing import MockClock

from chainsocks.chain.attempts import Choices
from chainsocks.chain.health import Health
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.models import HealthSettings, Timeouts
from chainsocks.errors import DialError, DialTimeout, HopAuthenticationError
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Method, Reply, ReplyCode, UsernamePassword
from chainsocks.protocol.socks5 import ServerHandshake
from chainsocks.routing.isolation import Circumstances, isolated_chain
from tests.dialing import dial
from tests.hops import add_hop, make_hop
from tests.memory import Handler, Host, MemoryNetwork, MemoryStream, WatchedNetwork

DESTINATION = Address("example.org", 80)
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=9)
GATEWAY, ELSEWHERE = Address("10.9.0.1", 1080), Address("10.9.0.2", 1080)
PARIS = make_hop(1)
BACKOFF = 100


def login(number: int, gateway: Address = GATEWAY) -> Hop:
    user = UsernamePassword(f"user{number}".encode(), b"pw")
    return replace(PARIS, name=str(gateway), address=gateway, credentials=user)


FIFTY = [login(number) for number in range(50)]
OTHER = login(0, ELSEWHERE)


class Party:
    """A network, and what one process remembers of its hops."""

    def __init__(self, world: MemoryNetwork) -> None:
        self.network = WatchedNetwork(world)
        settings = HealthSettings(rest=BACKOFF, longest_rest=BACKOFF)
        self.choices = Choices(Health(self.network.now, settings))
        self.logins: list[bytes] = []

    @property
    def connects(self) -> list[Address]:
        return [address for _, address in self.network.connects if address in (GATEWAY, ELSEWHERE)]

    async def dial(self, chain: Chain) -> None:
        upstream = await dial(chain, DESTINATION, TIMEOUTS, self.network, choices=self.choices)
        await aclose_forcefully(upstream.stream)

    def in_backoff(self, *hops: Hop) -> list[bool]:
        return [self.choices.health.in_backoff(hop) for hop in hops]

    def taking(self, *users: bytes) -> Handler:
        """Be a gateway that lets these users in, and says that it has connected them."""

        async def serve(stream: MemoryStream) -> None:
            handshake = ServerHandshake([Method.USERNAME_PASSWORD])
            while not handshake.done:
                handshake.receive_data(await stream.receive())
                if handshake.state is State.LOGIN:
                    self.logins.append(handshake.login.username)
                    if handshake.login.username in users:
                        handshake.accept_login()
                    else:
                        handshake.refuse_login()
                if handshake.state is State.REPLY:
                    handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
                await stream.send(handshake.data_to_send())
                if handshake.state is State.FAILED:
                    return
            await trio.sleep_forever()

        return serve


@pytest.fixture
def party(nursery: trio.Nursery) -> Party:
    party = Party(MemoryNetwork(nursery))
    party.network.hosts[ELSEWHERE] = Host(party.taking(b"user0"))
    return party


async def test_a_dead_gateway_costs_one_connect_limit(party: Party, autojump_clock: MockClock) -> None:
    party.network.hosts[GATEWAY] = Host()
    chain = Chain(Group(*FIFTY, OTHER))
    began = trio.current_time()
    await party.dial(chain)
    assert party.connects == [GATEWAY, ELSEWHERE]
    assert trio.current_time() - began == TIMEOUTS.connect
    assert all(party.in_backoff(*FIFTY))
    await party.dial(chain)
    assert party.connects[2:] == [ELSEWHERE]


async def test_a_dead_gateway_alone_is_asked_once(party: Party, autojump_clock: MockClock) -> None:
    party.network.hosts[GATEWAY] = Host()
    began = trio.current_time()
    with pytest.raises(DialTimeout) as caught:
        await party.dial(Chain(Group(*FIFTY)))
    assert trio.current_time() - began == TIMEOUTS.connect
    assert (party.connects, caught.value.earlier) == ([GATEWAY], ())


async def test_after_its_backoff_one_request_tries_the_gateway(party: Party, autojump_clock: MockClock) -> None:
    party.network.hosts[GATEWAY] = Host()
    chain = Chain(Group(*FIFTY, OTHER))
    await party.dial(chain)
    await trio.sleep(2 * BACKOFF)
    party.network.hosts[GATEWAY] = Host(party.taking(b"user0"), delay=1)
    party.network.connects.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(party.dial, chain)
    assert Counter(party.connects) == {GATEWAY: 1, ELSEWHERE: 4}
    assert not any(party.in_backoff(*FIFTY))


async def test_behind_another_hop_the_gateway_is_asked_for_once(party: Party, autojump_clock: MockClock) -> None:
    """What paris cannot reach is an address: other logins there would not help."""
    add_hop(party.network, PARIS)
    with pytest.raises(DialError):
        await party.dial(Chain(PARIS, Group(*FIFTY)))
    assert party.network.connects == [(0, PARIS.address), (0, GATEWAY)]
    assert not any(party.in_backoff(PARIS, *FIFTY)), "it may be the fault of paris"
    await party.dial(Chain(PARIS, Group(*FIFTY, OTHER)))
    assert party.in_backoff(PARIS, *FIFTY, OTHER) == [False, *[True] * 50, False], "paris has reached another one"


async def test_a_wrong_login_is_no_failure_of_the_right_one(party: Party, autojump_clock: MockClock) -> None:
    party.network.hosts[GATEWAY] = Host(party.taking(b"user2"))
    chain = Chain(Group(*FIFTY[:4]))
    await party.dial(chain)
    assert party.in_backoff(*FIFTY[:4]) == [True, True, False, False]
    await party.dial(chain)
    assert party.logins == [b"user0", b"user1", b"user2", b"user2"]


async def test_a_login_that_is_refused_shows_that_the_address_is_there(party: Party, autojump_clock: MockClock) -> None:
    party.network.hosts[GATEWAY] = Host()
    with pytest.raises(DialTimeout):
        await party.dial(Chain(Group(*FIFTY[:2])))
    assert party.in_backoff(*FIFTY[:2]) == [True, True]
    party.network.hosts[GATEWAY] = Host(party.taking(b"nobody"))
    with pytest.raises(HopAuthenticationError):
        await party.dial(Chain(Group(FIFTY[0])))
    assert party.in_backoff(*FIFTY[:2]) == [True, False]


async def test_two_places_may_be_held_by_two_logins(party: Party, autojump_clock: MockClock) -> None:
    pool = Group(*FIFTY[:2], name="pool")
    add_hop(party.network, FIFTY[0])
    party.network.hosts[DESTINATION] = Host(party.taking())
    await party.dial(Chain(pool, pool))
    assert len(party.connects) == 2


async def test_a_login_made_for_isolation_is_no_identity(party: Party, autojump_clock: MockClock) -> None:
    """What one session has learnt of a hop holds for the next one, which has another login there."""
    tor = replace(PARIS, address=GATEWAY, credentials=None, isolate=Isolate.SESSION)
    party.network.hosts[GATEWAY] = Host(party.taking())
    for _ in range(3):
        await party.dial(isolated_chain(Chain(Group(tor, OTHER)), Circumstances(b"key")))
    assert party.connects == [GATEWAY, ELSEWHERE, ELSEWHERE, ELSEWHERE]
    assert party.in_backoff(tor) == [True]


async def test_a_trial_that_is_given_up_leaves_the_hop_to_the_next_request(
    party: Party, autojump_clock: MockClock
) -> None:
    party.network.hosts[GATEWAY] = Host()
    chain = Chain(Group(FIFTY[0], OTHER))
    await party.dial(chain)
    await trio.sleep(2 * BACKOFF)
    with trio.move_on_after(1) as scope:
        await party.dial(chain)
    assert scope.cancelled_caught
    party.network.hosts[GATEWAY] = Host(party.taking(b"user0"))
    party.network.connects.clear()
    await party.dial(chain)
    assert party.connects == [GATEWAY]
