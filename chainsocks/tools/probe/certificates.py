"""What a probe sees of the TLS of a hop: the version, and what the hop's certificate says."""

from __future__ import annotations

import importlib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

from chainsocks.net.tls import TlsStream

__all__ = ["Secured", "secured_by"]

_DAY = 86400


@dataclass(frozen=True, slots=True)
class Secured:
    """The TLS of a hop."""

    version: str
    """As in ``TLSv1.3``."""
    names: tuple[str, ...]
    """The hosts that its certificate is for."""
    days: int
    """The whole days until its end; less than 0 behind it."""
    pin: str | None
    """As it is written; None if the hop has no pin to compare it with."""


class _Certificate(Protocol):
    pin: str
    names: tuple[str, ...]
    expires: datetime


class _Certificates(Protocol):
    def read_certificate(self, data: bytes) -> _Certificate: ...


def secured_by(stream: TlsStream) -> Secured:
    """Return what there is to say of a stream whose handshake is done.

    A certificate that only a pin vouches for is read by the package that pins need.
    """
    if fields := stream.verified:
        ends = ssl.cert_time_to_seconds(str(fields["notAfter"]))
        return Secured(stream.version, _names(fields), _days_until(ends), None)
    certificates = cast(_Certificates, importlib.import_module("chainsocks.tools.certificates"))
    read = certificates.read_certificate(stream.certificate)
    return Secured(stream.version, read.names, _days_until(read.expires.timestamp()), read.pin)


def _names(fields: Mapping[str, Any]) -> tuple[str, ...]:
    if names := tuple(str(value) for _, value in fields.get("subjectAltName", ())):
        return names
    return tuple(str(value) for part in fields.get("subject", ()) for key, value in part if key == "commonName")


def _days_until(moment: float) -> int:
    return int((moment - time.time()) // _DAY)
