"""What a probe tells programs: the whole document, of walks whose times are known."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.groups import Group
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.document import as_json
from chainsocks.tools.probe.walk import WarmRequest
from tests.hops import Fault, Trouble, make_hop
from tests.tools.probe.probing import probed_of


async def test_json(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    document = json.loads(as_json([await probed_of(nursery, Trouble(State.REQUEST, Fault.MUTE))], fine=False))
    unasked = {"names": None, "udp": None, "ipv6": None, "pipeline": None}
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
                "warm": None,
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
                        "tls": None,
                        "names": {"answer": "yes", "why": "it refused localhost:9: connection refused (05)"},
                        "udp": {"answer": "yes", "why": "asked to UDP_ASSOCIATE it said: succeeded (00)"},
                        "ipv6": {
                            "answer": "understood",
                            "why": "it refused [::1]:9: connection refused (05)",
                        },
                        "pipeline": None,
                    },
                    {
                        "position": 2,
                        "name": "osaka",
                        "protocol": "socks4a",
                        "address": "10.0.0.2:1080",
                        "state": "failed",
                        "steps": [{"step": "request", "seconds": 1.5}],
                        "login": None,
                        "tls": None,
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
                        "tls": None,
                        **unasked,
                    },
                ],
                "pipeline": None,
                "direct": [],
                "members": [],
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
    assert document["probes"][0]["failure"]["advice"][1].startswith("first suspect: lima")


async def test_json_without_hops_and_without_limits(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """JSON knows no infinity."""
    off = Timeouts(connect=float("inf"), dial=float("inf"))
    probed = await probed_of(nursery, chain=DIRECT, destination=Address("10.0.0.81", 80), timeouts=off)
    [document] = json.loads(as_json([probed], fine=False), parse_constant=pytest.fail)["probes"]
    assert document["hops"] == []
    assert document["direct"] == [{"step": "TCP connect", "seconds": 0}]
    assert document["failure"]["hop"] is None
    assert document["failure"]["limit"] is None


async def test_the_members_of_groups(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), Group(make_hop(2), make_hop(3), name="exits"))
    probed = await probed_of(nursery, Trouble(CONNECT, Fault.REFUSAL), chain)
    [document] = json.loads(as_json([probed], fine=True))["probes"]
    assert document["fine"]
    assert [(hop["name"], hop["state"]) for hop in document["hops"]] == [("paris", "passed"), ("lima", "passed")]
    osaka, lima = document["members"]
    assert (lima["place"], lima["group"], lima["position"], lima["state"]) == (2, "exits", 2, "works")
    assert lima["failure"] is None
    assert {key: lima[key] for key in document["hops"][1] if key != "state"} == {
        key: value for key, value in document["hops"][1].items() if key != "state"
    }
    assert (osaka["name"], osaka["state"], osaka["steps"], osaka["names"]) == ("osaka", "failed", [], None)
    assert (osaka["failure"]["hop"], osaka["failure"]["reply_code"], osaka["seconds"]) == ("paris", 5, 1)


async def test_pipelining_support(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Of a member that is not in the walk as well."""
    chain = Chain(make_hop(1), Group(make_hop(3), make_hop(2), name="exits"), pipeline="hop")
    loses = {"osaka": Trouble(State.METHOD_NEGOTIATION, Fault.LOSS), "paris": Trouble(State.REQUEST, Fault.LOSS)}
    [document] = json.loads(as_json([await probed_of(nursery, loses, chain, None, pipelining=True)], fine=False))[
        "probes"
    ]
    assert not document["fine"]
    assert document["failure"] is None
    paris, lima = (hop["pipeline"] for hop in document["hops"])
    assert paris["why"].startswith("hop paris (1 of 1) at 10.0.0.1:1080, what comes behind its request: no complete")
    assert {**paris, "why": ""} == {
        "own": "keeps",
        "behind": "loses",
        "why": "",
        "fit": "hop",
        "written": "hop",
        "lost": None,
    }
    assert lima == {"own": "keeps", "behind": "keeps", "why": "", "fit": "chain", "written": "hop", "lost": None}
    assert document["members"][0]["pipeline"] == lima
    osaka = document["members"][1]["pipeline"]
    assert (osaka["own"], osaka["fit"]) == ("loses", "off")
    assert osaka["lost"] == "its own messages where they come at once"
    assert document["pipeline"] == {"fit": "off", "because": ["osaka"], "apart": []}


async def test_a_member_that_no_way_leads_over(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), Group(make_hop(1), make_hop(2)))
    [document] = json.loads(as_json([await probed_of(nursery, chain=chain)], fine=True))["probes"]
    assert document["members"][0] == {"place": 2, "group": "group", "name": "paris", "state": "not used"}


async def test_a_request_on_a_warm_way(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    report = await probed_of(nursery, chain=Chain(make_hop(1), make_hop(2), warm=1))
    [document] = json.loads(as_json([report], fine=True))["probes"]
    assert document["warm"] == {"seconds": 0, "problem": None}
    failed = replace(report, warm=WarmRequest(None, "it had ended"))
    [document] = json.loads(as_json([failed], fine=True))["probes"]
    assert document["warm"] == {"seconds": None, "problem": "it had ended"}
