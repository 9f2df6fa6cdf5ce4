"""The state of a server in a few words."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.observe.record import sessions_begun
from chainsocks.server.server import open_server
from chainsocks.server.summary import Summary, summarize
from tests.config.files import read
from tests.net.sockets import sockets_on_mock_clock
from tests.server.serving import connect, greet

__all__ = ["sockets_on_mock_clock"]


@pytest.mark.parametrize(
    ("summary", "sentence", "line"),
    [
        (Summary(0, 0), "0 sessions", "state: 0 sessions; sessions since the start: 0"),
        (
            Summary(1, 1, begun=7),
            "1 session, 1 of 1 hop well",
            "state: 1 session, 1 of 1 hop well; sessions since the start: 7",
        ),
        (
            Summary(213, 3, ("lima", "pa\nris"), 5, 8000),
            "213 sessions, 1 of 3 hops well",
            "state: 213 sessions, 1 of 3 hops well; sessions since the start: 8000; connections that wait: 5; "
            "in backoff: lima, pa\\nris",
        ),
    ],
)
def test_it_is_a_sentence(summary: Summary, sentence: str, line: str) -> None:
    assert (str(summary), summary.line) == (sentence, line)


async def test_it_is_about_sessions_and_hops(sockets_on_mock_clock: MockClock) -> None:
    lines = ["[server]", "listen = '127.0.0.1:0'", "[hops]"]
    lines += [f"{name} = 'socks5://{name}.example'" for name in ("a", "b", "c")]
    lines += ["[chains]", "default = ['a', 'b']", "other = ['b', 'a']"]
    async with open_server(read("\n".join(lines))) as server, connect(str(server.listeners[0])) as client:
        await greet(client)
        hop = server.service.config.hops["b"]
        server.service.dialer.choices.health.record_failure(Suspect(hop, FailedAt.REQUEST), "refused")
        before = sessions_begun()
        assert summarize(server) == Summary(1, 2, ("b",), 0, before)
        async with connect(str(server.listeners[0])) as other:
            await greet(other)
            assert summarize(server) == Summary(2, 2, ("b",), 0, before + 1)
