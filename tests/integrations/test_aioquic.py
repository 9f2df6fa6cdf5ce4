"""HTTP/3 by aioquic, over datagrams through three hops."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aioquic")

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent

import chainsocks
from chainsocks import Chain, Hop
from tests.background import PATIENCE
from tests.certificates import authority
from tests.integrations.conftest import World

SIZE = 200_000


class Site(QuicConnectionProtocol):
    """Answers each request with a lot of bytes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._http = H3Connection(self._quic)

    def quic_event_received(self, event: QuicEvent) -> None:
        for each in self._http.handle_event(event):
            if isinstance(each, HeadersReceived):
                self._http.send_headers(each.stream_id, [(b":status", b"200")])
                self._http.send_data(each.stream_id, b"x" * SIZE, end_stream=True)
                self.transmit()


class Browser(QuicConnectionProtocol):
    """Asks for one page."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self._http = H3Connection(quic)
        self._body = b""
        self._page: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()

    async def fetch(self, name: str) -> bytes:
        headers = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", b"/")]
        self._http.send_headers(self._quic.get_next_available_stream_id(), headers, end_stream=True)
        self.transmit()
        return await self._page

    def quic_event_received(self, event: QuicEvent) -> None:
        for each in self._http.handle_event(event):
            if isinstance(each, DataReceived):
                self._body += each.data
                if each.stream_ended:
                    self._page.set_result(self._body)


def test_http_3_through_three_hops(world: World, tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    authority().issue("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    chain = Chain(*(f"socks5://{hop.address}" for hop in world.plain.hops if isinstance(hop, Hop)))

    async def go() -> bytes:
        settings = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=False)
        settings.load_cert_chain(certificate, certificate)
        server = await serve("127.0.0.1", 0, configuration=settings, create_protocol=Site)
        assert server._transport
        port = server._transport.get_extra_info("sockname")[1]
        ours = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_REQUIRED)
        ours.load_verify_locations(world.ca)
        address = ("localhost", port)  # a name: the last hop resolves it
        transport, browser = await chainsocks.create_datagram_endpoint(
            lambda: Browser(QuicConnection(configuration=ours)), chain=chain, remote_addr=address, timeout=PATIENCE
        )
        browser.connect(address)
        await browser.wait_connected()
        page: bytes = await browser.fetch("localhost")
        browser.close()
        await browser.wait_closed()
        transport.close()
        await browser.lost.wait()
        server.close()
        return page

    assert asyncio.run(asyncio.wait_for(go(), PATIENCE)) == b"x" * SIZE
