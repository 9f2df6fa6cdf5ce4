"""httpx itself, with connections through a chain."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial

import anyio
import pytest

pytest.importorskip("httpx")

import httpx

from chainsocks import Chain
from chainsocks.integrations.httpx import AsyncChainTransport, ChainTransport
from tests.background import PATIENCE
from tests.certificates import authority
from tests.integrations.conftest import World
from tests.integrations.laws import Asked, Client, Laws
from tests.integrations.site import BIG


class HttpxClient(Client):
    connect_error = httpx.ConnectError
    connect_timeout = httpx.ConnectTimeout
    certificate_error = httpx.ConnectError
    read_timeout = httpx.ReadTimeout


class Blocking(HttpxClient):
    def ask(
        self,
        chain: Chain,
        *requests: Asked,
        context: ssl.SSLContext,
        timeout: float = PATIENCE,
        isolation: str | None = None,
    ) -> Sequence[bytes]:
        transport = ChainTransport(chain, verify=context, isolation=isolation)
        with httpx.Client(transport=transport, timeout=timeout) as client:
            return [
                (client.post(each.url, content=each.body) if each.body else client.get(each.url)).content
                for each in requests
            ]


class Async(HttpxClient):
    def __init__(self, backend: str) -> None:
        self._backend = backend

    def ask(
        self,
        chain: Chain,
        *requests: Asked,
        context: ssl.SSLContext,
        timeout: float = PATIENCE,
        isolation: str | None = None,
    ) -> Sequence[bytes]:
        transport = partial(AsyncChainTransport, chain, verify=context, isolation=isolation)
        return anyio.run(self._ask, transport, requests, timeout, backend=self._backend)

    async def _ask(
        self, transport: partial[AsyncChainTransport], requests: Sequence[Asked], timeout: float
    ) -> Sequence[bytes]:
        async with httpx.AsyncClient(transport=transport(), timeout=timeout) as client:
            return [
                (await (client.post(each.url, content=each.body) if each.body else client.get(each.url))).content
                for each in requests
            ]


class TestHttpx(Laws):
    @pytest.fixture(params=[Blocking(), Async("asyncio"), Async("trio")], ids=["blocking", "asyncio", "trio"])
    def client(self, request: pytest.FixtureRequest) -> Client:
        client: Client = request.param
        return client


def test_bodies_are_streamed(world: World) -> None:
    transport = ChainTransport(world.plain)
    with httpx.Client(transport=transport) as client, client.stream("GET", f"{world.http.url}/big") as answer:
        assert len(next(answer.iter_raw())) < len(BIG)
        assert answer.extensions["http_version"] == b"HTTP/1.1"

    async def go() -> None:
        async with (
            httpx.AsyncClient(transport=AsyncChainTransport(world.plain)) as client,
            client.stream("GET", f"{world.http.url}/big") as answer,
        ):
            async for part in answer.aiter_raw():
                assert len(part) < len(BIG)
                break

    anyio.run(go)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_kept_connection_that_has_ended_is_not_used_again(world: World, backend: str) -> None:
    async def go() -> None:
        transport = AsyncChainTransport(world.plain, verify=authority().client())
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(2):
                url = f"{world.https.url}/a"
                assert (await client.get(url, headers={"Connection": "close"})).content == b"you asked for /a"

    anyio.run(go, backend=backend)


def test_errors_of_others_are_left_alone(world: World) -> None:
    with httpx.Client(transport=ChainTransport(world.plain)) as client, pytest.raises(httpx.UnsupportedProtocol):
        client.get("gopher://localhost/")
