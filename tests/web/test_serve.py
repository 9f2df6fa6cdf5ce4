"""The arguments of the process, and the process at work."""

from __future__ import annotations

import http.client
import logging

import pytest
import trio

for package in ("hypercorn", "starlette", "prometheus_client"):
    pytest.importorskip(package, reason="the extra `web` is not installed")

from chainsocks.config.log_settings import LogFormat, LogSettings, Privacy  # noqa: E402  (behind the skip)
from chainsocks.config.web import Web  # noqa: E402
from chainsocks.protocol.address import Address  # noqa: E402
from chainsocks.web.guard import Rules  # noqa: E402
from chainsocks.web.serve import parse_arguments  # noqa: E402
from tests.control.fleets import FakeFleet  # noqa: E402
from tests.net.sockets import LOOPBACK  # noqa: E402
from tests.web.asking import counted  # noqa: E402
from tests.web.browsing import get, running_web  # noqa: E402

TOKEN = "0123456789abcdef"
ANY = Address("0.0.0.0", 0)


def test_arguments_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_TOKEN", TOKEN)
    words = [
        "--control",
        "5",
        "--orders",
        "8",
        "--listen",
        "6",
        "--listen",
        "7",
        "--host",
        "A.example",
        "--host",
        "[::1]",
    ]
    words += ["--token-env", "WEB_TOKEN", "--guard-reads", "--log-format", "json", "--log-privacy", "full"]
    words += ["--log-level", "10"]
    given = parse_arguments(words)
    assert (given.control, given.orders, given.listen, given.level) == (5, 8, (6, 7), logging.DEBUG)
    assert given.rules == Rules(frozenset({"localhost", "a.example", "[::1]"}), TOKEN.encode(), guards_reads=True)
    assert given.log == LogSettings(LogFormat.JSON, Privacy.FULL)


def test_arguments_are_few_by_default() -> None:
    given = parse_arguments(["--control", "5", "--orders", "8", "--listen", "6"])
    assert given.rules == Rules(frozenset({"localhost"}))


async def test_it_answers_over_http() -> None:
    async with running_web(FakeFleet(counted=[counted()])) as address:
        metrics = await get(address, "/metrics")
        assert (metrics.status, b"chainsocks_bytes_total{" in metrics.body) == (200, True)
        assert (await get(address, "/metrics", Host="evil.example")).status == 403
        assert (await get(address, "/api/v1/reload", "POST")).status == 403


async def test_one_connection_carries_any_number_of_requests() -> None:
    """Monitoring systems keep theirs for ever; hypercorn's default ends it after a thousand."""
    async with running_web(FakeFleet(counted=[counted()])) as address:
        assert await trio.to_thread.run_sync(ask_often, address, 1010) == {200}


def ask_often(address: Address, times: int) -> set[int]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    found = set()
    for _ in range(times):
        connection.request("GET", "/page.css")
        response = connection.getresponse()
        response.read()
        found.add(response.status)
        assert connection.sock is not None, "the server has closed the connection"
    connection.close()
    return found


async def test_a_server_beyond_loopback_wants_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_TOKEN", TOKEN)
    web = Web(ANY, token_env="WEB_TOKEN")
    async with running_web(FakeFleet(counted=[counted()]), web) as address:
        local = Address(LOOPBACK, address.port)
        assert (await get(local, "/metrics")).status == 401
        assert (await get(local, "/readyz")).status == 200
        assert (await get(local, "/metrics", Authorization=f"Bearer {TOKEN}")).status == 200
        assert (await get(local, "/api/v1/reload", "POST", Authorization=f"Bearer {TOKEN}")).status == 200
