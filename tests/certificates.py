"""Certificates for tests: an authority, a server and a client that it has signed for."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme

__all__ = ["Authority", "authority"]

NAME = "paris.example"


@dataclass(frozen=True)
class Authority:
    """An authority, and the contexts of those that it has signed for."""

    ca: trustme.CA = field(default_factory=trustme.CA)

    def issue(self, *names: str, expired: timedelta | None = None) -> trustme.LeafCert:
        """Sign a certificate, which may have `expired` that long ago."""
        until = datetime.now(UTC) - expired if expired else None
        return self.ca.issue_cert(*(names or (NAME,)), not_after=until)

    def server(self, *names: str, expired: timedelta | None = None, asks_clients: bool = False) -> ssl.SSLContext:
        """Make the context of a server with a certificate for `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue(*names, expired=expired).configure_cert(context)
        if asks_clients:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, *, shows: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """Make the context of a client that trusts this authority alone, and may show a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if shows:
            shows.configure_cert(context)
        return context

    def write(self, directory: Path, *names: str) -> tuple[Path, Path]:
        """Write the authority's certificate, and a server's with its key; return both paths."""
        ca, server = directory / "ca.pem", directory / "server.pem"
        self.ca.cert_pem.write_to_path(str(ca))
        self.issue(*names).private_key_and_cert_chain_pem.write_to_path(str(server))
        return ca, server


@cache
def authority() -> Authority:
    """The authority of all tests that need only one: a key takes a while to make."""
    return Authority()
