"""The routes: what is answered, and what is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from trio.testing import MockClock

pytest.importorskip("starlette", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from chainsocks.control.messages import HopState, Request, ServerState, What
from chainsocks.web.app import PAGE, WRITES, build_app
from chainsocks.web.feed import Feed
from chainsocks.web.guard import PUBLIC, Rules
from chainsocks.web.source import Source
from tests.control.fleets import HOP, SESSION, STATUS, FakeFleet
from tests.web.asking import Answered, answering, ask, counted

TOKEN = "0123456789abcdef"
BEARER = f"Bearer {TOKEN}"


def app_of(source: Source) -> object:
    return build_app(source, Feed(source), Rules(frozenset({"localhost"}), TOKEN.encode()))


async def get(fleet: FakeFleet, path: str, query: str = "") -> Answered:
    async with answering(fleet) as source:
        return await ask(app_of(source), path, query=query)


@pytest.mark.parametrize("path", sorted(PUBLIC - {"/healthz", "/readyz"}))
async def test_the_page_is_served(path: str) -> None:
    answered = await get(FakeFleet(), path)
    assert answered.status == 200
    assert answered.body == (PAGE / (path[1:] or "index.html")).read_bytes()


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ("/api/v1/status", "pid", STATUS.pid),
        ("/api/v1/sessions", "sessions", None),
        ("/api/v1/hops", "hops", None),
        ("/api/v1/view", "sessions_in_all", 1),
        ("/api/v1/metrics", "workers", [counted()]),
    ],
)
async def test_the_api_answers_in_json(path: str, key: str, value: object, autojump_clock: MockClock) -> None:
    answered = await get(FakeFleet(counted=[counted()]), path)
    document = json.loads(answered.body)
    assert answered.status == 200
    assert document[key] == value if value is not None else document[key]
    if key == "sessions":
        assert document["sessions"][0]["id"] == SESSION.id


async def test_metrics_are_for_monitoring(autojump_clock: MockClock) -> None:
    answered = await get(FakeFleet(counted=[counted(1), counted(2)]), "/metrics")
    assert answered.headers["content-type"].startswith("text/plain")
    assert b'chainsocks_bytes_total{chain="default",direction="up"} 2000.0' in answered.body
    assert b'chainsocks_loop_lag_seconds{worker="2"} 0.25' in answered.body
    assert b'chainsocks_hop_up{hop="osaka"} 0.0' in answered.body


DRAINING = replace(STATUS, state=ServerState.DRAINING)
SILENT = replace(STATUS, workers=(replace(STATUS.workers[0], answers=False),))
DOWN = [replace(HOP, name=name, state=HopState.BACKOFF) for name in ("osaka", "lima")]


@pytest.mark.parametrize(
    ("fleet", "path", "query", "status"),
    [
        (FakeFleet(), "/healthz", "", 200),
        (FakeFleet(status_now=DRAINING), "/healthz", "", 200),
        (FakeFleet(status_now=SILENT), "/healthz", "", 503),
        (FakeFleet(error=ZeroDivisionError()), "/healthz", "", 500),
        (FakeFleet(), "/readyz", "", 200),
        (FakeFleet(status_now=DRAINING), "/readyz", "", 503),
        (FakeFleet(status_now=SILENT), "/readyz", "", 503),
        (FakeFleet(hops_now=DOWN, counted=[counted()]), "/readyz", "", 200),
        (FakeFleet(hops_now=DOWN, counted=[counted()]), "/readyz", "chain=default", 503),
        (FakeFleet(hops_now=DOWN[:1], counted=[counted()]), "/readyz", "chain=default", 200),
        (FakeFleet(counted=[counted()]), "/readyz", "chain=direct", 200),
        (FakeFleet(counted=[counted()]), "/readyz", "chain=defualt", 404),
        (FakeFleet(status_now=DRAINING, counted=[counted()]), "/readyz", "chain=default", 503),
    ],
)
async def test_health_and_readiness(
    fleet: FakeFleet, path: str, query: str, status: int, autojump_clock: MockClock
) -> None:
    assert (await get(fleet, path, query)).status == status


@pytest.mark.parametrize(
    ("what", "body", "told"),
    [
        (What.KILL, {"session": "2-17"}, Request(what=What.KILL, session="2-17")),
        (What.REST, {"hop": "osaka"}, ("rest", "osaka")),
        (What.WAKE, {"hop": "osaka"}, ("wake", "osaka")),
        (What.DRAIN, {"delay": 5}, ("drain", 5)),
        (What.DRAIN, None, ("drain", 0)),
        (What.RELOAD, None, "reload"),
    ],
)
async def test_changes_are_passed_on(what: What, body: object, told: object, autojump_clock: MockClock) -> None:
    fleet = FakeFleet()
    sent = b"" if body is None else json.dumps(body).encode()
    async with answering(fleet) as source:
        answered = await ask(app_of(source), f"/api/v1/{what}", "POST", body=sent, authorization=BEARER)
    assert answered.status == 200
    assert [replace(each, id=None) if isinstance(each, Request) else each for each in fleet.told] == [told]


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        (What.REST, b'{"hop": "oslo"}', 404),
        (What.REST, b"{}", 400),
        (What.REST, b"[]", 400),
        (What.REST, b"no json", 400),
        (What.REST, b'{"hop": "osaka", "version": 2}', 400),
        (What.REST, b'{"request": "drain"}', 400),
        (What.KILL, b'{"session": 5}', 400),
        (What.KILL, b'{"session": "' + b"x" * 70_000 + b'"}', 400),
    ],
)
async def test_a_bad_change_is_refused(what: What, body: bytes, status: int, autojump_clock: MockClock) -> None:
    fleet = FakeFleet()
    async with answering(fleet) as source:
        answered = await ask(app_of(source), f"/api/v1/{what}", "POST", body=body, authorization=BEARER)
    assert answered.status == status
    assert json.loads(answered.body)["error"]["message"]
    assert [each for each in fleet.told if each != ("rest", "oslo")] == []


@pytest.mark.parametrize("what", WRITES)
async def test_a_change_is_no_get(what: What, autojump_clock: MockClock) -> None:
    fleet = FakeFleet()
    assert (await get(fleet, f"/api/v1/{what}")).status == 405
    assert fleet.told == []


async def test_a_path_that_is_none(autojump_clock: MockClock) -> None:
    assert (await get(FakeFleet(), "/../guard.py")).status == 404
    assert (await get(FakeFleet(), "/page/../guard.py")).status == 404
