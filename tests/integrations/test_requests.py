"""requests itself, with connections through a chain."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Sequence
from functools import partial

import pytest

pytest.importorskip("requests")

import requests

from chainsocks import Chain
from chainsocks.integrations.requests import ChainAdapter, chain_session
from tests.background import PATIENCE
from tests.integrations.conftest import World
from tests.integrations.laws import Asked, Client, Laws


class RequestsClient(Client):
    connect_error = requests.ConnectionError
    connect_timeout = requests.ConnectTimeout
    certificate_error = requests.exceptions.SSLError
    read_timeout = requests.ReadTimeout

    def __init__(self, ca: str) -> None:
        self._ca = ca

    def ask(
        self,
        chain: Chain,
        *requests: Asked,
        context: ssl.SSLContext,
        timeout: float = PATIENCE,
        isolation: str | None = None,
    ) -> Sequence[bytes]:
        with chain_session(chain, isolation=isolation) as session:
            trusted = len(context.get_ca_certs()) == 1
            ask = partial(session.request, timeout=timeout, verify=self._ca if trusted else True)
            return [ask("POST" if each.body else "GET", each.url, data=each.body).content for each in requests]


class TestRequests(Laws):
    @pytest.fixture
    def client(self, world: World) -> Client:
        return RequestsClient(world.ca)


def test_proxies_of_a_request_are_not_used(world: World) -> None:
    with chain_session(world.plain) as session:
        answer = session.get(f"{world.http.url}/a", proxies={"http": "http://127.0.0.1:1"}, timeout=PATIENCE)
        assert answer.content == b"you asked for /a"


def test_an_adapter_can_be_pickled(world: World) -> None:
    with requests.Session() as session:
        session.mount("http://", pickle.loads(pickle.dumps(ChainAdapter(world.plain, pool_maxsize=3))))
        assert session.get(f"{world.http.url}/a", timeout=PATIENCE).content == b"you asked for /a"
