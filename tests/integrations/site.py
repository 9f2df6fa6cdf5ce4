"""A web site on loopback, in the clear and in TLS, that counts its connections."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.certificates import authority

__all__ = ["BIG", "NAME", "Site", "sites"]

NAME = "localhost"
"""What the last hop resolves."""

BIG = b"0123456789abcdef" * 16384
"""256 KiB."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        self._answer(BIG if self.path == "/big" else f"you asked for {self.path}".encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).upper())

    def _answer(self, body: bytes) -> None:
        if self.path == "/slow":
            self.server.patience.wait()
        with suppress(OSError):  # the client has no patience
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """The site; `url` is its address."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._context = context
        self.connections = 0
        self.patience = threading.Event()
        self.port: int = self.server_address[1]
        self.url = f"{'https' if context else 'http'}://{NAME}:{self.port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._context:
            with suppress(OSError), self._context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        else:
            super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up, on purpose


@contextmanager
def sites() -> Iterator[tuple[Site, Site]]:
    """Run a site in the clear, and one in TLS."""
    with Site(None) as plain, Site(authority().server(NAME)) as secured:
        threads = [threading.Thread(target=site.serve_forever, args=(0.01,)) for site in (plain, secured)]
        for thread in threads:
            thread.start()
        try:
            yield plain, secured
        finally:
            for site in (plain, secured):
                site.patience.set()
                site.shutdown()
            for thread in threads:
                thread.join()
