"""Ask an ASGI application, without HTTP and without sockets; and a server to ask for it, over the real protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from trio.testing import memory_stream_pair

from chainsocks.control.ask import Asker
from chainsocks.control.serve import serve_control
from chainsocks.observe.counters import BOUNDS
from chainsocks.web.source import Source
from tests.control.fleets import FakeFleet

__all__ = ["Answered", "answering", "ask", "counted"]


@dataclass(frozen=True)
class Answered:
    """What an application has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(
    app: Any,
    path: str,
    method: str = "GET",
    *,
    body: bytes = b"",
    query: str = "",
    server: tuple[str, int] = ("127.0.0.1", 9090),
    **headers: str,
) -> Answered:
    """Send one request; `headers` are given with underscores. Without `host`, it is the server's own address."""
    given = {"host": f"{server[0]}:{server[1]}", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(key.replace("_", "-").encode(), value.encode("latin-1")) for key, value in given.items() if value],
        "client": ("127.0.0.1", 40000),
        "server": server,
    }
    sent: list[dict[str, Any]] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await trio.sleep_forever()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    found = {key.decode(): value.decode("latin-1") for key, value in start["headers"]}
    return Answered(start["status"], found, b"".join(part.get("body", b"") for part in parts))


@asynccontextmanager
async def answering(fleet: FakeFleet) -> AsyncIterator[Source]:
    """Have `fleet` answer what the source asks."""
    pairs = [memory_stream_pair() for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for _, far in pairs:
            nursery.start_soon(serve_control, far, fleet)
        yield Source(*(Asker(near) for near, _ in pairs))
        nursery.cancel_scope.cancel()


def _sessions(outcome: str, reply: str, count: int) -> dict[str, Any]:
    labels = {"command": "CONNECT", "chain": "default", "outcome": outcome, "reply": reply}
    return {"labels": labels, "value": count}


def counted(worker: int = 0, **metrics: object) -> dict[str, Any]:
    """What a worker answers to `metrics` that has ended five sessions, of which one failed."""
    outcome = "hop osaka: <b>no answer</b>"
    return {
        "worker": worker,
        "metrics": {
            "chainsocks_sessions_total": [_sessions("finished", "00", 4), _sessions("dial_failed", "06", 1)],
            "chainsocks_sessions_open": [{"labels": {"command": "CONNECT", "chain": "default"}, "value": 3}],
            "chainsocks_bytes_total": [{"labels": {"direction": "up", "chain": "default"}, "value": 1000}],
            "chainsocks_hop_up": [{"labels": {"hop": "osaka"}, "value": worker % 2}],
            "chainsocks_loop_lag_seconds": [{"labels": {}, "value": 0.25}],
            "chainsocks_step_seconds": [
                {
                    "labels": {"hop": "osaka", "step": "TCP connect"},
                    "counts": [0, 2, *[0] * (len(BOUNDS) - 1)],
                    "sum": 0.004,
                }
            ],
            **metrics,
        },
        "chains": [
            {
                "name": "default",
                "places": [
                    {"hop": "paris"},
                    {"group": "exits", "pick": "failover", "members": [{"hop": "osaka"}, {"hop": "lima"}]},
                ],
            }
        ],
        "failures": [{"session": f"{worker}-1", "ago": 2.0 + worker, "chain": "default", "outcome": outcome}],
    }
