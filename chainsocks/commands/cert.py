"""`chainsocks cert`: make a key and a certificate, or show the pin of one."""

from __future__ import annotations

import importlib
import json
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, cast

import click

from chainsocks.config.extras import TLS, require
from chainsocks.protocol.address import Address, parse_address, printable

__all__ = ["cert"]

PATIENCE = 10.0
"""Seconds for a server to show its certificate."""

DAY = timedelta(days=1)

LARGEST = 1 << 20
"""Bytes of a file with certificates that are read."""

PORT = 1443
"""The port in the lines to paste, which has to be changed to the real one."""


class _Certificate(Protocol):
    pin: str
    names: tuple[str, ...]
    expires: datetime


class _Made(Protocol):
    key: bytes
    pem: bytes
    certificate: _Certificate


class _Certificates(Protocol):
    def make_certificate(self, name: str, days: int) -> _Made: ...

    def read_certificate(self, data: bytes) -> _Certificate: ...


def cert(*, name: str | None, shown: str | None, days: int) -> None:
    """Make files and print the lines for them, or print the pin of what is `shown`.

    Raises:
        UsageError: neither or both of the two are given.
        ClickException: it cannot be done; the message says why.
    """
    if (name is None) == (shown is None):
        raise click.UsageError("expected a NAME to make a certificate for, or --show with a file or host:port")
    try:
        require(*TLS)
        certificates = cast(_Certificates, importlib.import_module("chainsocks.tools.certificates"))
        if name is not None:
            _make(certificates, name, days)
        elif shown is not None:
            _show(certificates.read_certificate(_certificate_of(shown)))
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _make(certificates: _Certificates, name: str, days: int) -> None:
    if name.startswith((".", "-")) or "/" in name:
        raise ValueError("the name is that of two files as well: it has no / in it, and no . or - at its beginning")
    made = certificates.make_certificate(name, days)
    key, pem = Path(f"{name}.key"), Path(f"{name}.pem")
    _write(key, made.key)
    try:
        _write(pem, made.pem)
    except BaseException:
        key.unlink()
        raise
    host = f"[{name}]" if ":" in name else name
    lines = [
        f"# Valid until {made.certificate.expires:%Y-%m-%d}. The hop itself:",
        "[[server.listen]]",
        "# Other machines reach it: declare [[users]], or set client_ca in tls.",
        f'address = "0.0.0.0:{PORT}"',
        f"tls = {{ cert = {_quoted(str(pem))}, key = {_quoted(str(key))} }}",
        "",
        "# Those who use it:",
        f"[hops.{_quoted(name)}]",
        f'protocol = "socks5"\naddress = {_quoted(f"{host}:{PORT}")}',
        f'tls = {{ pin = "{made.certificate.pin}" }}',
    ]
    click.echo("\n".join(lines))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _write(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ValueError(f"{path} exists already, and is not overwritten: choose another name or folder") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _show(certificate: _Certificate) -> None:
    left = certificate.expires - datetime.now(UTC)
    when = f"expired {-left // DAY} days ago" if left < timedelta() else f"expires in {left // DAY} days"
    names = ", ".join(map(printable, certificate.names)) or "no name"
    click.echo(f"{certificate.pin}\n{names}: {when}, on {certificate.expires:%Y-%m-%d}")


def _certificate_of(place: str) -> bytes:
    """Return the certificate in a file, or the one that the TLS server at host:port shows.

    Raises:
        ValueError: there is none.
        OSError: the file cannot be read; ``filename`` is its name.
    """
    path, address = Path(place), _address(place)
    if address is None or path.exists():
        with path.open("rb") as file:
            data = file.read(LARGEST)
        if b"-----BEGIN CERTIFICATE-----" not in data:
            raise ValueError(f"{place}: there is no certificate in it (PEM)")
        return data
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what is printed is to be compared
    try:
        with (
            socket.create_connection((address.host, address.port), PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname=address.host) as sock,
        ):
            return sock.getpeercert(binary_form=True) or b""
    except TimeoutError:
        raise ValueError(f"{address}: no certificate (within {PATIENCE:g} s)") from None
    except ssl.SSLError as error:
        reason = (error.reason or "the connection ended").replace("_", " ").lower()
        raise ValueError(f"{address}: it does not speak TLS as expected: {reason}") from None
    except OSError as error:
        raise ValueError(f"{address}: {error.strerror or error}") from None


def _address(place: str) -> Address | None:
    try:
        address = parse_address(place)
    except ValueError:
        return None
    return address if address.port else None
