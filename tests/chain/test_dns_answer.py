"""Questions of DNS that a chain answers, over hops in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import dns.message
import dns.rcode
import pytest
import trio

from chainsocks.chain.attempts import Operation
from chainsocks.chain.dns_answer import answer_question
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import Resolve
from chainsocks.config.groups import hops_of
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialTimeout, HopRefused, RequestRefused, ResolverError
from chainsocks.protocol.address import Address
from chainsocks.protocol.dns import Query, parse_query
from chainsocks.protocol.dns_handshake import QuestionHandshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command
from tests import hops as honest
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream
from tests.resolvers import framed, respond

HOPS = tuple(make_hop(number) for number in (1, 2, 3))
RESOLVER = Address("192.0.2.53", 53)
THROUGH = Chain(*HOPS, name="office", resolver=RESOLVER)
TOR = Chain(*HOPS[:2], replace(HOPS[2], tor=True))
LOCAL = Chain(*HOPS[:2], replace(HOPS[2], resolve=Resolve.LOCAL))


def network_of(nursery: trio.Nursery, trouble: Trouble | None = None, wait: float = 0) -> MemoryNetwork:
    """The three hops, the last of which may have a trouble, and the resolver behind them."""

    async def serve(stream: MemoryStream) -> None:
        message = await stream.receive()
        await trio.sleep(wait)
        await stream.send(framed(respond(message[2:])))

    network = MemoryNetwork(nursery)
    for hop in HOPS:
        add_hop(network, hop, trouble if hop is HOPS[-1] else None)
    network.hosts[RESOLVER] = Host(serve)
    return network


async def ask(chain: Chain, network: MemoryNetwork, name: str, kind: str = "A") -> dns.message.Message:
    asked = dns.message.make_query(name, kind)
    query = parse_query(asked.to_wire())
    assert isinstance(query, Query)
    operation: Operation[bytes] = partial(answer_question, query=query)
    subject = QuestionHandshake(query).request.destination
    _, message = await dialer_of(network, Timeouts()).run(chain, operation, subject)
    answer = dns.message.from_wire(message)
    assert asked.is_response(answer)
    return answer


def shown(answer: dns.message.Message) -> list[str]:
    """The records, or the RCODE."""
    return [str(each) for each in answer.answer] or [dns.rcode.to_text(answer.rcode())]


@pytest.mark.parametrize("chain", [THROUGH, Chain(resolver=RESOLVER), Chain(*hops_of(TOR.hops), resolver=RESOLVER)])
@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("four.example", "A", "four.example. 60 IN A 192.0.2.4"),
        ("four.example", "AAAA", "NOERROR"),
        ("mail.example", "TXT", 'mail.example. 60 IN TXT "no address"'),
        ("4.2.0.192.in-addr.arpa", "PTR", "4.2.0.192.in-addr.arpa. 60 IN PTR four.example."),
        ("none.example", "A", "NXDOMAIN"),
        ("fails.example", "A", "SERVFAIL"),
        ("example", "AXFR", "NOTIMP"),
    ],
)
async def test_a_resolver_behind_the_chain(
    chain: Chain, name: str, kind: str, found: str, nursery: trio.Nursery
) -> None:
    network = network_of(nursery)
    assert shown(await ask(chain, network, name, kind)) == [found]
    if kind != "AXFR":
        assert [address for _, address in network.connects] == [hop.address for hop in hops_of(chain.hops)] + [RESOLVER]
        assert network.streams[0].closed


@pytest.mark.parametrize(
    ("kind", "found"),
    [("A", "host.example. 60 IN A 192.0.2.99"), ("AAAA", "NOERROR"), ("MX", "NOTIMP")],
)
async def test_a_last_hop_that_resolves(
    kind: str, found: str, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(honest.ANSWERS, Command.RESOLVE, Address("192.0.2.99", 0))
    assert shown(await ask(TOR, network_of(nursery), "host.example", kind)) == [found]


async def test_the_name_of_an_address_by_the_last_hop(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(honest.ANSWERS, Command.RESOLVE_PTR, Address("host.example", 0))
    network, pointer = network_of(nursery), "4.2.0.192.in-addr.arpa"
    assert shown(await ask(TOR, network, pointer, "PTR")) == [f"{pointer}. 60 IN PTR host.example."]
    monkeypatch.setitem(honest.ANSWERS, Command.RESOLVE_PTR, Address("a" * 64 + ".example", 0))
    with pytest.raises(ResolverError, match="its answer is no name of DNS"):
        await ask(TOR, network, pointer, "PTR")


async def test_a_refusal_of_the_last_hop_is_no_answer(nursery: trio.Nursery) -> None:
    """It does not tell a name that there is not from one that was not found just now."""
    with pytest.raises(HopRefused):
        await ask(TOR, network_of(nursery, Trouble(State.REQUEST, Fault.REFUSAL)), "host.example")


@pytest.mark.parametrize("chain", [DIRECT, LOCAL], ids=["direct", "local"])
async def test_this_machine(chain: Chain, nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    network.names["host.example"] = ["192.0.2.80", "192.0.2.81", "2001:db8::80"]
    network.reverse["192.0.2.4"] = "host.example"
    [records] = (await ask(chain, network, "host.example", "A")).answer
    assert [str(record) for record in records] == ["192.0.2.80", "192.0.2.81"]
    assert shown(await ask(chain, network, "host.example", "AAAA")) == ["host.example. 60 IN AAAA 2001:db8::80"]
    assert shown(await ask(chain, network, "none.example")) == ["NXDOMAIN"]
    assert shown(await ask(chain, network, "4.2.0.192.in-addr.arpa", "PTR"))[0].endswith("PTR host.example.")
    assert network.connects == []


@pytest.mark.parametrize("chain", [Chain(*HOPS, name="office"), THROUGH, DIRECT], ids=["no resolver", "one", "direct"])
async def test_onion_services_are_not_in_dns(chain: Chain, nursery: trio.Nursery) -> None:
    network = network_of(nursery)
    try:
        assert shown(await ask(chain, network, "x.onion")) == ["NXDOMAIN"]
    except RequestRefused:
        assert chain.resolver is None
    assert network.connects == []


async def test_a_chain_without_a_resolver_refuses(nursery: trio.Nursery) -> None:
    with pytest.raises(RequestRefused, match="chain office has no resolver; set its resolver, or tor = true"):
        await ask(Chain(*HOPS, name="office"), network_of(nursery), "four.example")


async def test_a_resolver_that_takes_its_time(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    network = network_of(nursery, wait=100)
    with pytest.raises(DialTimeout, match=r"resolver 192.0.2.53:53, name lookup: "):
        await ask(THROUGH, network, "four.example")
    assert trio.current_time() == Timeouts().resolve
