"""aiohttp itself, with connections through a chain."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import pytest

pytest.importorskip("aiohttp")

import aiohttp

from chainsocks import Chain
from chainsocks.integrations.aiohttp import ChainConnector
from tests.background import PATIENCE, Script
from tests.certificates import authority
from tests.integrations.conftest import World
from tests.integrations.laws import Asked, Client, Laws


class AiohttpClient(Client):
    connect_error = aiohttp.ClientConnectorError
    connect_timeout = aiohttp.ConnectionTimeoutError
    certificate_error = aiohttp.ClientConnectorCertificateError
    read_timeout = aiohttp.SocketTimeoutError

    def ask(
        self,
        chain: Chain,
        *requests: Asked,
        context: ssl.SSLContext,
        timeout: float = PATIENCE,
        isolation: str | None = None,
    ) -> Sequence[bytes]:
        limits = aiohttp.ClientTimeout(sock_connect=timeout, sock_read=timeout)

        async def go() -> Sequence[bytes]:
            connector = ChainConnector(chain, ssl=context, isolation=isolation)
            async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:
                answers = []
                for each in requests:
                    method = "POST" if each.body else "GET"
                    async with session.request(method, each.url, data=each.body) as answer:
                        answers.append(await answer.read())
                return answers

        return asyncio.run(go())


class TestAiohttp(Laws):
    @pytest.fixture
    def client(self) -> Client:
        return AiohttpClient()


def test_a_site_that_does_not_speak_tls(world: World) -> None:
    port = world.background.listen(Script(b"220 hello\r\n")).port

    async def go() -> None:
        async with (
            aiohttp.ClientSession(connector=ChainConnector(world.plain, ssl=authority().client())) as session,
            session.get(f"https://localhost:{port}/"),
        ):
            pass

    with pytest.raises(aiohttp.ClientConnectorSSLError, match=r"destination localhost:\d+, TLS handshake: TLS failed"):
        asyncio.run(go())
