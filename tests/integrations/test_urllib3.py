"""urllib3 itself, with connections through a chain."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import pytest

pytest.importorskip("urllib3")

import urllib3

from chainsocks import Chain
from chainsocks.integrations.urllib3 import ChainPoolManager
from tests.background import PATIENCE, Script
from tests.integrations.conftest import World
from tests.integrations.laws import Asked, Client, Laws


class Urllib3Client(Client):
    connect_error = urllib3.exceptions.NewConnectionError
    connect_timeout = urllib3.exceptions.ConnectTimeoutError
    certificate_error = urllib3.exceptions.SSLError
    read_timeout = urllib3.exceptions.ReadTimeoutError

    def ask(
        self,
        chain: Chain,
        *requests: Asked,
        context: ssl.SSLContext,
        timeout: float = PATIENCE,
        isolation: str | None = None,
    ) -> Sequence[bytes]:
        with ChainPoolManager(
            chain, isolation=isolation, ssl_context=context, timeout=timeout, retries=False
        ) as manager:
            return [manager.request("POST" if each.body else "GET", each.url, body=each.body).data for each in requests]


class TestUrllib3(Laws):
    @pytest.fixture
    def client(self) -> Client:
        return Urllib3Client()


def test_the_address_that_a_connection_leaves_from(world: World) -> None:
    script = Script(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    address = world.background.listen(script)
    with ChainPoolManager(source_address=("127.0.0.6", 0)) as manager:
        answer = manager.request("GET", f"http://{address}/", preload_content=False)
        assert isinstance(answer.connection, urllib3.connection.HTTPConnection)
        assert answer.connection.sock
        assert answer.connection.sock.getsockname()[0] == "127.0.0.6"
        assert answer.data == b"hi"
