"""What a worker answers to `metrics`: its counters, its hops, its process."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import trio
from trio.testing import MockClock

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pick
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.observe.counters import Counters
from chainsocks.observe.live import LiveSessions
from chainsocks.observe.metrics import (
    BYTES,
    HOP_BACKOFF_SECONDS,
    HOP_BACKOFFS,
    HOP_UP,
    LOOP_LAG,
    OPEN_FILES,
    PLACES,
    PLACES_TAKEN,
    RESIDENT_BYTES,
    SESSIONS,
    SESSIONS_OPEN,
    START_TIME,
    Metric,
    read_document,
)
from chainsocks.server.metrics import Condition, read_metrics
from chainsocks.server.server import Server, open_server
from tests.net.sockets import free_port, read_exactly
from tests.server.serving import config_of, connect, echoing, open_session

Found = dict[tuple[Metric, tuple[str, ...]], Any]
CONDITION = Condition(3, 1000.5, 0.25, is_draining=False)


def ask(server: Server, hops: dict[str, Hop] | None = None) -> tuple[Found, dict[str, Any]]:
    counters = server.service.counters
    assert counters
    answer = json.loads(json.dumps(read_metrics(server, counters, hops or {}, CONDITION)))
    return {(each.metric, each.labels): each.value for each in read_document(answer["metrics"])}, answer


async def test_a_session_counts_while_it_runs_and_afterwards(sockets_on_mock_clock: MockClock) -> None:
    live, counters = LiveSessions(), Counters()
    async with echoing() as destination, open_server(config_of(), counters=counters, live=live) as server:
        client = connect(str(server.listeners[0]))
        await open_session(client, destination)
        await client.send(b"hello")
        assert await read_exactly(client, 5) == b"hello"
        found, _ = ask(server)
        assert found[SESSIONS_OPEN, ("CONNECT", "direct")] == 1
        assert (found[BYTES, ("up", "direct")], found[BYTES, ("down", "direct")]) == (5, 5)
        assert (found[PLACES_TAKEN, ()], found[PLACES, ()]) == (1, 100)
        assert (SESSIONS, ("CONNECT", "direct", "finished", "00")) not in found
        await client.aclose()
        await trio.sleep(1)
        found, _ = ask(server)
        assert found[SESSIONS, ("CONNECT", "direct", "finished", "00")] == 1
        assert (found[BYTES, ("up", "direct")], found[BYTES, ("down", "direct")]) == (5, 5)
        assert (SESSIONS_OPEN, ("CONNECT", "direct")) not in found


async def test_a_process_says_how_it_is(sockets_on_mock_clock: MockClock) -> None:
    async with open_server(config_of(), counters=Counters()) as server:
        found, answer = ask(server)
        with socket.socket(), socket.socket():
            later, _ = ask(server)
    assert answer["worker"] == 3
    assert [*answer] == ["worker", "metrics", "chains", "failures"]  # as the manual has it
    assert found[LOOP_LAG, ()] == 0.25
    assert found[START_TIME, ()] == 1000.5
    assert 5e6 < found[RESIDENT_BYTES, ()] < 5e9
    if (OPEN_FILES, ()) in found:  # Linux 6.2 and later
        assert later[OPEN_FILES, ()] == found[OPEN_FILES, ()] + 2


async def test_a_hop_in_backoff_is_down(sockets_on_mock_clock: MockClock) -> None:
    paris, osaka = parse_hop_url("socks5://192.0.2.1", "paris"), parse_hop_url("socks5://192.0.2.2", "osaka")
    async with open_server(config_of(), counters=Counters()) as server:
        server.service.dialer.choices.health.record_failure(Suspect(paris, FailedAt.CONNECT), "it is down")
        found, _ = ask(server, {"paris": paris, "osaka": osaka})
    assert (found[HOP_UP, ("paris",)], found[HOP_UP, ("osaka",)]) == (0, 1)
    assert 0 < found[HOP_BACKOFF_SECONDS, ("paris",)] < 3
    assert found[HOP_BACKOFF_SECONDS, ("osaka",)] == 0
    assert found[HOP_BACKOFFS, ("paris",)] == 1


async def test_chains_are_described_with_their_groups_and_failures_with_their_sentence(
    sockets_on_mock_clock: MockClock,
) -> None:
    names = ("paris", "osaka", "lima")
    paris, osaka, lima = (parse_hop_url(f"socks5://127.0.0.1:{free_port()}", name) for name in names)
    exits = Group(osaka, lima, name="exits", pick=Pick.RANDOM)
    config = replace(config_of(), chains={"default": Chain(paris, exits, name="default")})
    async with open_server(config, counters=Counters()) as server:
        client = connect(str(server.listeners[0]))
        await client.send(bytes.fromhex("05 01 00  05 01 00 01 7f000001 0050"))
        assert (await read_exactly(client, 12))[3] == 1
        await client.aclose()
        await trio.sleep(1)
        _, answer = ask(server)
    members = [{"hop": "osaka"}, {"hop": "lima"}]
    assert answer["chains"] == [
        {"name": "default", "places": [{"hop": "paris"}, {"group": "exits", "pick": "random", "members": members}]}
    ]
    [failure] = answer["failures"]
    assert failure["chain"] == "default"
    assert failure["outcome"].startswith("hop paris (1 of 2) at 127.0.0.1:")
    assert failure["ago"] >= 0
