"""RESOLVE and RESOLVE_PTR, over hops in memory and on the mock clock: who is asked, and what is made of the answer.

The faults of hops have a whole table in tests/session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from chainsocks.chain.trip import OPEN, RESOLVE
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import Resolve as Resolving
from chainsocks.config.groups import hops_of
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    ConnectError,
    DialError,
    DialTimeout,
    End,
    HopProtocolError,
    HopRefused,
    Place,
    RequestRefused,
    ResolverError,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command
from tests import hops as honest
from tests.dialing import resolve
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream
from tests.resolvers import MISBEHAVIOUR, framed, respond

Respond = Callable[[bytes], bytes]

ASK, ASK_BACK = Command.RESOLVE, Command.RESOLVE_PTR
NAME, IP, IP6 = Address("host.example", 0), Address("192.0.2.80", 0), Address("2001:db8::80", 0)
HOPS = tuple(make_hop(number) for number in (1, 2, 3))
TOR = Chain(*HOPS[:2], replace(HOPS[2], tor=True))
LOCAL = Chain(*HOPS[:2], replace(HOPS[2], resolve=Resolving.LOCAL))


def network_of(nursery: trio.Nursery, trouble: Trouble | None = None) -> MemoryNetwork:
    """The three hops, the last of which may have a trouble."""
    network = MemoryNetwork(nursery)
    for hop in HOPS:
        add_hop(network, hop, trouble if hop is HOPS[-1] else None)
    return network


@pytest.mark.parametrize("chain", [DIRECT, TOR, Chain(*HOPS)], ids=["direct", "tor", "hops"])
@pytest.mark.parametrize("subject", [IP, IP6, Address("::ffff:192.0.2.80", 0)], ids=str)
async def test_an_address_is_its_own_answer(chain: Chain, subject: Address, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery)
    assert await resolve(chain, replace(subject, port=443), Timeouts(), network) == subject
    assert network.connects == []


@pytest.mark.parametrize("chain", [DIRECT, LOCAL], ids=["direct", "local"])
class TestThisMachine:
    """Where names are looked up here anyway."""

    @pytest.mark.parametrize(
        ("found", "told"),
        [
            (["192.0.2.80"], IP),
            (["2001:db8::80", "192.0.2.80"], IP),
            (["2001:db8::80", "2001:db8::81"], IP6),
            (["::ffff:192.0.2.80"], IP),
        ],
        ids=["IPv4", "both", "IPv6", "mapped"],
    )
    async def test_an_ipv4_address_where_there_is_one(
        self, chain: Chain, found: list[str], told: Address, nursery: trio.Nursery
    ) -> None:
        network = MemoryNetwork(nursery, names={NAME.host: found})
        assert await resolve(chain, replace(NAME, port=443), Timeouts(), network) == told
        assert network.connects == []

    async def test_the_name_of_an_address(self, chain: Chain, nursery: trio.Nursery) -> None:
        network = MemoryNetwork(nursery, reverse={IP.host: NAME.host})
        assert await resolve(chain, IP, Timeouts(), network, ASK_BACK) == NAME
        assert network.connects == []

    @pytest.mark.parametrize(("command", "subject", "what"), [(ASK, NAME, "address"), (ASK_BACK, IP, "name")])
    async def test_there_is_none(
        self, chain: Chain, command: Command, subject: Address, what: str, nursery: trio.Nursery
    ) -> None:
        with pytest.raises(ResolverError) as caught:
            await resolve(chain, subject, Timeouts(), MemoryNetwork(nursery), command)
        assert caught.value.place == Place(None, subject, RESOLVE)
        assert caught.value.problem == f"no {what} for {subject.host}: Name or service not known"
        assert caught.value.reply_code == 0x04

    @pytest.mark.parametrize(("command", "subject"), [(ASK, NAME), (ASK_BACK, IP)])
    async def test_no_answer(
        self, chain: Chain, command: Command, subject: Address, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery, resolve_delay=100)
            with pytest.raises(DialTimeout) as caught:
                await resolve(chain, subject, Timeouts(resolve=4), network, command)
        assert trio.current_time() == 4
        assert f"name lookup: the lookup of {subject.host} got no answer (4.00 s of 4 s)" in str(caught.value)
        assert caught.value.reply_code == 0x06

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("10.0.0.1", "called by an address"),
            ("::1", "called by an address"),
            ("n" * 256, "256 bytes"),
            ("", "empty"),
        ],
    )
    async def test_anybody_can_put_anything_there(
        self, chain: Chain, name: str, problem: str, nursery: trio.Nursery
    ) -> None:
        network = MemoryNetwork(nursery, reverse={IP.host: name})
        with pytest.raises(ResolverError, match=problem) as caught:
            await resolve(chain, IP, Timeouts(), network, ASK_BACK)
        assert caught.value.reply_code == 0x04


@pytest.mark.parametrize(("command", "subject"), [(ASK, NAME), (ASK_BACK, IP)])
class TestTor:
    """Where the last hop has tor's commands."""

    async def test_its_answer_is_passed_on(self, command: Command, subject: Address, nursery: trio.Nursery) -> None:
        network = network_of(nursery)
        answer = await resolve(TOR, subject, Timeouts(), network, command)
        assert answer == honest.ANSWERS[command]
        assert [address for _, address in network.connects] == [hop.address for hop in HOPS]
        await trio.testing.wait_all_tasks_blocked()
        assert network.left_open == []

    async def test_so_is_its_refusal(self, command: Command, subject: Address, nursery: trio.Nursery) -> None:
        network = network_of(nursery, Trouble("request", Fault.REFUSAL))
        with pytest.raises(HopRefused) as caught:
            await resolve(TOR, subject, Timeouts(), network, command)
        assert caught.value.place == Place("lima", HOPS[2].address, State.REQUEST, 3, 3)
        assert caught.value.reply_code == 0x05
        assert network.streams[0].closed

    async def test_an_answer_to_another_question(
        self, command: Command, subject: Address, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = network_of(nursery)
        other = NAME if command is ASK else IP
        monkeypatch.setitem(honest.ANSWERS, command, other)
        wanted = "an IP address" if command is ASK else "a name"
        with pytest.raises(HopProtocolError) as caught:
            await resolve(TOR, subject, Timeouts(), network, command)
        assert caught.value.place.who == "lima (3 of 3)"
        assert caught.value.problem == f"it answered {command.name} with {other}, which is not {wanted}"
        assert network.streams[0].closed


RESOLVER = Address("192.0.2.53", 53)
THROUGH = Chain(*HOPS, name="onion", resolver=RESOLVER)


class TestResolver:
    """Where a resolver is asked, in DNS over TCP, through all hops."""

    @staticmethod
    def network(nursery: trio.Nursery, respond: Respond = respond) -> MemoryNetwork:
        """The hops, and the resolver behind them."""

        async def serve(stream: MemoryStream) -> None:
            while True:
                message = await stream.receive()
                await stream.send(framed(respond(message[2:])))

        network = network_of(nursery)
        network.hosts[RESOLVER] = Host(serve)
        return network

    @pytest.mark.parametrize("chain", [THROUGH, Chain(resolver=RESOLVER)], ids=["hops", "direct"])
    @pytest.mark.parametrize(
        ("command", "subject", "answer"),
        [
            (ASK, "four.example", "192.0.2.4"),
            (ASK, "six.example", "2001:db8::6"),
            (ASK, "both.example", "192.0.2.64"),
            (ASK, "alias.example", "192.0.2.4"),
            (ASK_BACK, "192.0.2.4", "four.example"),
            (ASK_BACK, "2001:db8::6", "six.example"),
        ],
    )
    async def test_it_is_reached_by_the_chain(
        self, chain: Chain, command: Command, subject: str, answer: str, nursery: trio.Nursery
    ) -> None:
        network = self.network(nursery)
        assert await resolve(chain, Address(subject, 7), Timeouts(), network, command) == Address(answer, 0)
        assert [address for _, address in network.connects] == [hop.address for hop in hops_of(chain.hops)] + [RESOLVER]
        assert network.streams[0].closed

    @pytest.mark.parametrize(
        ("command", "subject", "code", "problem"),
        [
            (ASK, "none.example", 0x04, "no answer for none.example: there is no such name (NXDOMAIN)"),
            (ASK, "mail.example", 0x04, "no answer for mail.example: it knows the name, and has nothing of that kind"),
            (ASK, "lost.example", 0x04, "no answer for lost.example: it knows the name, and has nothing of that kind"),
            (ASK, "fails.example", 0x01, "no answer for fails.example: it says SERVFAIL"),
            (ASK_BACK, "192.0.2.6", 0x04, "no answer for 192.0.2.6: there is no such name (NXDOMAIN)"),
            (ASK_BACK, "192.0.2.5", 0x04, "no name for 192.0.2.5: it is called by an address"),
        ],
    )
    async def test_it_has_no_answer(
        self, command: Command, subject: str, code: int, problem: str, nursery: trio.Nursery
    ) -> None:
        network = self.network(nursery)
        with pytest.raises(ResolverError) as caught:
            await resolve(THROUGH, Address(subject, 0), Timeouts(), network, command)
        assert (caught.value.problem, caught.value.reply_code) == (problem, code)
        assert str(caught.value).startswith("resolver 192.0.2.53:53, name lookup: ")
        assert network.streams[0].closed

    @pytest.mark.parametrize(("misbehave", "why"), MISBEHAVIOUR.values(), ids=list(MISBEHAVIOUR))
    async def test_it_misbehaves(self, misbehave: Respond, why: str, nursery: trio.Nursery) -> None:
        network = self.network(nursery, misbehave)
        with pytest.raises(ResolverError, match=r" \(as seen through lima\) ") as caught:
            await resolve(THROUGH, Address("four.example", 0), Timeouts(), network)
        assert why in caught.value.problem
        assert caught.value.place == Place(None, RESOLVER, RESOLVE, end=End.RESOLVER)
        assert caught.value.reply_code == 0x01
        assert network.streams[0].closed

    @pytest.mark.parametrize(
        ("handler", "problem"),
        [(Fault.FIN, "it closed the connection"), (Fault.RESET, "the connection was reset")],
    )
    async def test_it_leaves(self, handler: Fault, problem: str, nursery: trio.Nursery) -> None:
        async def leave(stream: MemoryStream) -> None:
            await stream.receive()
            if handler is Fault.RESET:
                stream.reset()

        network = network_of(nursery)
        network.hosts[RESOLVER] = Host(leave)
        with pytest.raises(ResolverError) as caught:
            await resolve(THROUGH, NAME, Timeouts(), network)
        assert caught.value.problem == f"{problem} (as seen through lima)"
        assert caught.value.reply_code == 0x01

    @pytest.mark.parametrize("drips", [0, 1])
    async def test_it_takes_its_time(
        self, drips: int, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
    ) -> None:
        async def dawdle(stream: MemoryStream) -> None:
            message = await stream.receive()
            for byte in framed(respond(message[2:])) * drips:
                await trio.sleep(1)
                await stream.send(bytes((byte,)))
            await trio.sleep_forever()

        network = network_of(nursery)
        network.hosts[RESOLVER] = Host(dawdle, delay=2)
        with pytest.raises(DialTimeout) as caught:
            await resolve(THROUGH, NAME, Timeouts(dial=3, resolve=7), network)
        assert trio.current_time() == 2 + 7, "the way took two seconds, the dial's, and the answer has its own seven"
        assert caught.value.place == Place(None, RESOLVER, RESOLVE, end=End.RESOLVER)
        assert caught.value.problem == "the lookup of host.example got no answer"
        assert caught.value.reply_code == 0x06
        assert network.streams[0].closed

    @pytest.mark.parametrize(
        ("chain", "error", "problem"),
        [
            (THROUGH, HopRefused, "it refused 192.0.2.53:53: connection refused (05)"),
            (Chain(resolver=RESOLVER), ConnectError, "connection refused"),
            (
                Chain(make_hop(1, HopProtocol.SOCKS4), resolver=Address("dns.example", 53)),
                UnsupportedAddress,
                "plain socks4 cannot carry the name in dns.example:53",
            ),
        ],
        ids=["refused", "direct", "unsupported"],
    )
    async def test_it_cannot_be_reached(
        self, chain: Chain, error: type[DialError], problem: str, nursery: trio.Nursery
    ) -> None:
        """The client has not asked for the resolver, and is not told how that went."""
        with pytest.raises(error) as caught:
            await resolve(chain, NAME, Timeouts(), network_of(nursery))
        assert caught.value.problem.startswith(problem)
        assert caught.value.reply_code == 0x01

    @pytest.mark.parametrize("host", ["n" * 64, "a..b", "host.onion"])
    async def test_it_is_not_bothered_with_what_is_no_name(self, host: str, nursery: trio.Nursery) -> None:
        network = self.network(nursery)
        with pytest.raises(ResolverError, match="cannot be looked up") as caught:
            await resolve(THROUGH, Address(host, 0), Timeouts(), network)
        assert caught.value.reply_code == 0x04
        assert network.connects == []

    @pytest.mark.parametrize("chain", [TOR, LOCAL], ids=["tor", "local"])
    async def test_it_is_not_asked_what_others_know(self, chain: Chain, nursery: trio.Nursery) -> None:
        network = self.network(nursery)
        network.names[NAME.host] = ["192.0.2.99"]
        chain = Chain(*chain.hops, resolver=RESOLVER)
        assert await resolve(chain, NAME, Timeouts(), network) == honest.ANSWERS[ASK]
        assert RESOLVER not in [address for _, address in network.connects]


async def test_nobody_to_ask(nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    for command, subject in ((ASK, NAME), (ASK_BACK, IP)):
        with pytest.raises(RequestRefused, match="chain default has no resolver") as caught:
            await resolve(Chain(replace(HOPS[0], tor=True), HOPS[1]), subject, Timeouts(), network, command)
        assert caught.value.reply_code == 0x07
    assert network.connects == []


@pytest.mark.parametrize("chain", [DIRECT, TOR], ids=["direct", "tor"])
async def test_no_name_has_a_name(chain: Chain, nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    with pytest.raises(RequestRefused, match=r"which host\.example is not") as caught:
        await resolve(chain, NAME, Timeouts(), network, ASK_BACK)
    assert caught.value.reply_code == 0x08
    assert network.connects == []


async def test_every_step_is_told(nursery: trio.Nursery) -> None:
    seen: list[str] = []
    network = network_of(nursery)
    answer = await resolve(TOR, NAME, Timeouts(), network, on_step=lambda place, _: seen.append(place.step))
    assert answer == honest.ANSWERS[ASK]
    assert seen[-1] == OPEN
