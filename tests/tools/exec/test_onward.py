"""Which chain's resolver is asked; tests/e2e/test_exec.py has one asked through three hops."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest
import trio

from chainsocks.config.load import parse_config
from chainsocks.protocol.dns import Query, parse_query
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.tools.exec.onward import ask_behind_chain, chain_with_resolver
from tests.memory import MemoryNetwork

FILE = """
[hops]
paris = "socks5://192.0.2.1"
[chains]
default = ["paris"]
known = { hops = ["paris"], resolver = "192.0.2.53" }
[[rules]]
to = "refused.test"
deny = true
[[rules]]
to = [".known.test", "*.onion"]
chain = "known"
"""


@pytest.fixture
def service(nursery: trio.Nursery) -> Service:
    return Service(parse_config(FILE), Logins(()), MemoryNetwork(nursery))


@pytest.mark.parametrize(
    ("name", "chain"), [("x.known.test", "known"), ("x.onion", None), ("other.test", None), ("refused.test", None)]
)
async def test_the_rules_choose_the_chain(service: Service, name: str, chain: str | None) -> None:
    found = chain_with_resolver(service, name)
    assert (found and found.name) == chain


async def test_a_resolver_that_is_not_reached_is_a_failure(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    message = dns.message.make_query("x.known.test", "MX").to_wire()
    query = parse_query(message)
    assert isinstance(query, Query)
    answer = await ask_behind_chain(service, service.config.chains["known"], query, message)
    assert dns.message.from_wire(answer).rcode() == dns.rcode.SERVFAIL
    assert "the resolver of chain known: hop paris (1 of 1)" in caplog.text
    assert (
        dns.message.from_wire(await ask_behind_chain(service, service.config.chains["known"], query, b"")).rcode()
        == dns.rcode.FORMERR
    )
