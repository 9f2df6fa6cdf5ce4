"""What a probe shows: the whole text, and the whole JSON, of walks whose times are known."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from chainsocks.chain.dial import CONNECT
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.hops import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.questions import Answer, Finding, Question, ask_hops
from chainsocks.tools.probe.report import Kind, Probed, as_json, show, show_summary
from chainsocks.tools.probe.walk import walk
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.memory import Host, MemoryNetwork, MemoryStream

DESTINATION = Address("example.org", 80)
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=30)
CHAIN = Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4A), make_hop(3))


async def probed_of(
    nursery: trio.Nursery,
    trouble: Trouble | None = None,
    chain: Chain = CHAIN,
    destination: Address | None = DESTINATION,
    timeouts: Timeouts = TIMEOUTS,
) -> Probed:
    """Probe a chain whose second hop has that trouble; every connect takes half a second."""
    route = way_of(chain)
    network = MemoryNetwork(nursery, {DESTINATION: Host(_say_nothing), Address("10.0.0.80", 80): Host(_say_nothing)})
    for position, hop in enumerate(route.hops, 1):
        add_hop(network, hop, trouble if position == 2 else None)
        network.hosts[hop.address] = replace(network.hosts[hop.address], delay=0.5)
    walked = await walk(route, destination, timeouts, network)
    return Probed(Kind.CHAIN, chain.name, walked, await ask_hops(walked, timeouts, network))


def shown(probed: Probed, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding)
    show(probed, Console(file=output, width=1000, markup=False, emoji=False, highlight=False))
    output.flush()
    return "\n".join(line.rstrip() for line in raw.getvalue().decode(encoding).splitlines())


FINE = """\
chain default: to example.org:80, which only lima is told

here ──> paris ──> osaka ──> lima ──> example.org:80

┏━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ hop            ┃ protocol ┃ address       ┃ step               ┃      ms ┃
┡━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ paris (1 of 3) │ socks5   │ 10.0.0.1:1080 │ TCP connect        │  500.00 │
│                │          │               │ method negotiation │    0.00 │
│                │          │               │ username/password  │    0.00 │
│                │          │               │ sub-negotiation    │         │
│                │          │               │ request            │  500.00 │
│ osaka (2 of 3) │ socks4a  │ 10.0.0.2:1080 │ request            │  500.00 │
│ lima (3 of 3)  │ socks5   │ 10.0.0.3:1080 │ method negotiation │    0.00 │
│                │          │               │ username/password  │    0.00 │
│                │          │               │ sub-negotiation    │         │
│                │          │               │ request            │    0.00 │
├────────────────┼──────────┼───────────────┼────────────────────┼─────────┤
│ all hops       │          │               │                    │ 1500.00 │
└────────────────┴──────────┴───────────────┴────────────────────┴─────────┘

hop             login              names    UDP  IPv6
paris (1 of 3)  username/password  yes      yes  understood
osaka (2 of 3)  user id            unknown  no   no
lima (3 of 3)   username/password  yes      yes  understood
  IPv6 understood: paris, lima: asked for [::1]:9 it said: connection refused (05)
  names unknown: osaka: asked for localhost:9 it said: general SOCKS server failure (01); \
asked for chainsocks.invalid:9 it said: general SOCKS server failure (01)
  UDP no: osaka: socks4a has none
  IPv6 no: osaka: socks4a has none

The chain default is fine: 1500.00 ms."""

BROKEN = """\
chain default: to example.org:80, which only lima is told

here --> paris --X osaka ..> lima ..> example.org:80

+--------------------------------------------------------------------------+
| hop            | protocol | address       | step               |      ms |
|----------------+----------+---------------+--------------------+---------|
| paris (1 of 3) | socks5   | 10.0.0.1:1080 | TCP connect        |  500.00 |
|                |          |               | method negotiation |    0.00 |
|                |          |               | username/password  |    0.00 |
|                |          |               | sub-negotiation    |         |
|                |          |               | request            |  500.00 |
| osaka (2 of 3) | socks4a  | 10.0.0.2:1080 | not reached        |         |
| lima (3 of 3)  | socks5   | 10.0.0.3:1080 | not reached        |         |
|----------------+----------+---------------+--------------------+---------|
| all hops       |          |               |                    | 1000.00 |
+--------------------------------------------------------------------------+

hop             login              names  UDP  IPv6
paris (1 of 3)  username/password  yes    yes  understood
osaka (2 of 3)  -                  -      -    -
lima (3 of 3)   -                  -      -    -
  IPv6 understood: paris: asked for [::1]:9 it said: connection refused (05)

BROKEN: hop paris (1 of 3) at 10.0.0.1:1080, request: it could not reach osaka at 10.0.0.2:1080, \
it says: connection refused (05) (0.50 s of 1.5 s)
  - suspect osaka first: that it is not running, or that its port is another; and then paris: that it may not go there
  - to find out, `chainsocks probe --all` talks to osaka straight from here (and so shows it your own address): \
if that works, it is paris"""


async def test_a_chain_that_is_fine(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    assert shown(await probed_of(nursery)) == FINE


async def test_a_chain_that_is_broken_where_only_ascii_can_be_shown(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    assert shown(await probed_of(nursery, Trouble(CONNECT, Fault.REFUSAL)), "ascii") == BROKEN


async def test_without_a_destination(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4))
    text = shown(await probed_of(nursery, chain=chain, destination=None))
    assert text.startswith(
        "chain default: as far as its last hop, which is asked for nothing (name a HOST:PORT to ask it for that)\n"
    )
    assert "│ osaka (2 of 2) │ socks4   │ 10.0.0.2:1080 │ nothing to say yet │" in text
    assert "  osaka: socks4 says nothing before it is asked for something: it took the connection" in text


async def test_a_socks4_hop_that_was_asked_is_known(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4))
    text = shown(await probed_of(nursery, chain=chain, destination=Address("10.0.0.80", 80)))
    assert "The chain default is fine" in text
    assert "says nothing before" not in text


@pytest.mark.parametrize("fault", [None, Fault.REFUSAL, Fault.MUTE])
async def test_names_forge_no_lines_and_no_colours(
    fault: Fault | None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    evil = Chain(make_hop(1), replace(make_hop(2), name="a\nb\x1b[31m[red]"), name="c\rd")
    trouble = Trouble(State.REQUEST, fault) if fault else None
    text = shown(await probed_of(nursery, trouble, chain=evil))
    assert "\x1b" not in text
    assert "\nb" not in text
    assert r"──> a\nb\x1b[31m[red]" in text
    assert r"chain c\rd" in text


async def test_nor_does_what_was_found(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    probed = await probed_of(nursery, chain=Chain(make_hop(1)))
    finding = Finding(Answer.UNKNOWN, "it could not be asked: hop a\nb")
    text = shown(replace(probed, findings={1: {Question.UDP: finding}}))
    assert r"  UDP unknown: paris: it could not be asked: hop a\nb" in text


async def test_without_hops(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    text = shown(await probed_of(nursery, chain=DIRECT, destination=Address("10.0.0.80", 80)))
    assert text.startswith("chain direct: no hops, straight to 10.0.0.80:80\n\nhere ──> 10.0.0.80:80\n")
    assert "│ destination │          │ 10.0.0.80:80 │ TCP connect │ 0.00 │" in text
    assert "names" not in text


async def test_colours_are_for_terminals(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    probed = await probed_of(nursery, Trouble(State.REQUEST, Fault.GARBAGE))
    assert "\x1b" not in shown(probed)
    output = io.StringIO()
    show(probed, Console(file=output, width=1000, force_terminal=True, color_system="standard"))
    assert "\x1b[1;31m [✗ osaka]\x1b[0m" in output.getvalue()


async def test_the_summary(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    fine = await probed_of(nursery)
    broken = replace(await probed_of(nursery, Trouble(CONNECT, Fault.REFUSAL)), kind=Kind.HOP, name="a\nb")
    output = io.StringIO()
    show_summary([fine, broken], Console(file=output, width=1000))
    assert [line.rstrip() for line in output.getvalue().splitlines()] == [
        "chain default  fine                                                    1500.00 ms",
        r"hop a\nb       BROKEN at hop paris (1 of 3) at 10.0.0.1:1080, request  1000.00 ms",
    ]


async def test_json(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    document = json.loads(as_json([await probed_of(nursery, Trouble(State.REQUEST, Fault.MUTE))], fine=False))
    unasked = {"names": None, "udp": None, "ipv6": None}
    assert document == {
        "fine": False,
        "probes": [
            {
                "kind": "chain",
                "name": "default",
                "destination": "example.org:80",
                "fine": False,
                "count": 1,
                "seconds": 2.5,
                "hops": [
                    {
                        "position": 1,
                        "name": "paris",
                        "protocol": "socks5",
                        "address": "10.0.0.1:1080",
                        "state": "passed",
                        "steps": [
                            {"step": "TCP connect", "seconds": 0.5},
                            {"step": "method negotiation", "seconds": 0},
                            {"step": "username/password sub-negotiation", "seconds": 0},
                            {"step": "request", "seconds": 0.5},
                        ],
                        "login": "username/password",
                        "names": {"answer": "yes", "why": "asked for localhost:9 it said: connection refused (05)"},
                        "udp": {"answer": "yes", "why": "asked to UDP_ASSOCIATE it said: succeeded (00)"},
                        "ipv6": {
                            "answer": "understood",
                            "why": "asked for [::1]:9 it said: connection refused (05)",
                        },
                    },
                    {
                        "position": 2,
                        "name": "osaka",
                        "protocol": "socks4a",
                        "address": "10.0.0.2:1080",
                        "state": "failed",
                        "steps": [{"step": "request", "seconds": 1.5}],
                        "login": None,
                        **unasked,
                    },
                    {
                        "position": 3,
                        "name": "lima",
                        "protocol": "socks5",
                        "address": "10.0.0.3:1080",
                        "state": "not reached",
                        "steps": [],
                        "login": None,
                        **unasked,
                    },
                ],
                "direct": [],
                "failure": {
                    "hop": "osaka",
                    "position": 2,
                    "address": "10.0.0.2:1080",
                    "step": "request",
                    "problem": "no complete answer on the way to 10.0.0.3:1080",
                    "reply_code": None,
                    "seconds": 1.5,
                    "limit": 1.5,
                    "advice": document["probes"][0]["failure"]["advice"],
                },
            }
        ],
    }
    assert document["probes"][0]["failure"]["advice"][1].startswith("suspect lima first")


async def test_json_without_hops_and_without_limits(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """JSON knows no infinity."""
    off = Timeouts(connect=float("inf"), dial=float("inf"))
    probed = await probed_of(nursery, chain=DIRECT, destination=Address("10.0.0.81", 80), timeouts=off)
    [document] = json.loads(as_json([probed], fine=False), parse_constant=pytest.fail)["probes"]
    assert document["hops"] == []
    assert document["direct"] == [{"step": "TCP connect", "seconds": 0}]
    assert document["failure"]["hop"] is None
    assert document["failure"]["limit"] is None


async def _say_nothing(stream: MemoryStream) -> None:
    while True:
        await stream.receive()
