"""Which requests are let through: a name of ours, the token, and no other website's page."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.web.asking import ask

pytest.importorskip("starlette", reason="the extra `web` is not installed")

from chainsocks.web.guard import PUBLIC, Guard, Rules

TOKEN = "0123456789abcdef"
BEARER = f"Bearer {TOKEN}"
HOSTS = frozenset({"localhost", "proxy.example", "[::1]"})
OPEN, WITH_TOKEN = Rules(HOSTS), Rules(HOSTS, TOKEN.encode())
EXPOSED = Rules(HOSTS, TOKEN.encode(), guards_reads=True)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"secret"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("127.0.0.1:9090", 200, id="the address that it came in at"),
        pytest.param("127.0.0.1", 200, id="without the port"),
        pytest.param("localhost:9090", 200, id="localhost"),
        pytest.param("LOCALHOST", 200, id="in capitals"),
        pytest.param("proxy.example:443", 200, id="one of hosts"),
        pytest.param("[::1]:9090", 200, id="in brackets"),
        pytest.param("", 200, id="none: HTTP 1.0"),
        pytest.param("evil.example", 403, id="rebound"),
        pytest.param("127.0.0.1.evil.example", 403, id="looks like it"),
        pytest.param("localhost.evil.example:9090", 403, id="begins like it"),
        pytest.param("192.0.2.1:9090", 403, id="another address"),
        pytest.param("[::1", 200, id="a broken bracket"),
        pytest.param("[", 403, id="a bracket"),
    ],
)
async def test_the_host_has_to_be_one_of_ours(host: str, status: int) -> None:
    answered = await ask(Guard(answer, OPEN), "/metrics", host=host)
    assert answered.status == status
    assert (b"secret" in answered.body) is (status == 200)


@pytest.mark.parametrize(
    ("rules", "method", "path", "authorization", "status"),
    [
        (OPEN, "GET", "/api/v1/sessions", "", 200),
        (OPEN, "POST", "/api/v1/kill", "", 403),
        (OPEN, "POST", "/api/v1/kill", "Bearer ", 403),
        (WITH_TOKEN, "GET", "/api/v1/sessions", "", 200),
        (WITH_TOKEN, "POST", "/api/v1/kill", "", 401),
        (WITH_TOKEN, "POST", "/api/v1/kill", "Bearer wrong", 401),
        (WITH_TOKEN, "POST", "/api/v1/kill", f"Bearer {TOKEN[:-1]}", 401),
        (WITH_TOKEN, "POST", "/api/v1/kill", "Bearer caf\xe9", 401),
        (WITH_TOKEN, "POST", "/api/v1/kill", f"Basic {TOKEN}", 401),
        (WITH_TOKEN, "POST", "/api/v1/kill", BEARER, 200),
        (WITH_TOKEN, "POST", "/api/v1/kill", f"bearer {TOKEN}", 200),
        (WITH_TOKEN, "DELETE", "/", "", 401),
        (EXPOSED, "GET", "/api/v1/sessions", "", 401),
        (EXPOSED, "GET", "/metrics", "", 401),
        (EXPOSED, "GET", "/metrics", BEARER, 200),
        (EXPOSED, "HEAD", "/metrics", "", 401),
        *((EXPOSED, "GET", path, "", 200) for path in sorted(PUBLIC)),
        (EXPOSED, "GET", "//metrics", "", 401),
    ],
)
async def test_the_token_is_asked_for(rules: Rules, method: str, path: str, authorization: str, status: int) -> None:
    answered = await ask(Guard(answer, rules), path, method, authorization=authorization)
    assert answered.status == status
    assert TOKEN.encode() not in answered.body


async def test_a_token_in_the_url_or_a_cookie_is_none() -> None:
    guard = Guard(answer, EXPOSED)
    answered = await ask(guard, "/metrics", query=f"token={TOKEN}&authorization={BEARER}", cookie=f"token={TOKEN}")
    assert answered.status == 401


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param("", 200, id="no browser"),
        pytest.param("http://localhost:9090", 200, id="our page"),
        pytest.param("https://localhost:9090", 200, id="our page behind TLS"),
        pytest.param("http://localhost:9091", 403, id="another port"),
        pytest.param("http://evil.example", 403, id="another website"),
        pytest.param("null", 403, id="a sandbox"),
    ],
)
async def test_changes_come_from_our_page_only(origin: str, status: int) -> None:
    guard = Guard(answer, WITH_TOKEN)
    answered = await ask(guard, "/api/v1/kill", "POST", host="localhost:9090", origin=origin, authorization=BEARER)
    assert answered.status == status


@pytest.mark.parametrize("host", ["localhost", "evil.example"])
async def test_every_answer_has_the_security_headers(host: str) -> None:
    answered = await ask(Guard(answer, OPEN), "/", host=host)
    policy = answered.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert answered.headers["cache-control"] == "no-store"
    assert answered.headers["referrer-policy"] == "no-referrer"


async def test_a_bug_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await answer(scope, receive, send)
        raise ZeroDivisionError("oh")

    assert (await ask(Guard(broken, OPEN), "/")).status == 200
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert lines == ["a bug in chainsocks: ZeroDivisionError: oh (in the web server)"]
