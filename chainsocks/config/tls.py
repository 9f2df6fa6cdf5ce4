"""TLS at a hop and at a listener: which certificate is shown, and which one the other side has to have.

A pin is the SHA-256 of a certificate's public key (SubjectPublicKeyInfo), written ``sha256/...`` in base64 as curl and
RFC 7469 have it. It stays the same when a certificate is renewed with the same key.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

__all__ = ["HopContext", "ListenerTls", "Tls", "context_of", "listener_context_of", "parse_pin", "show_pin"]

_PIN = re.compile(r"sha256/(?:/)?([A-Za-z0-9+/]{43}=)").fullmatch
_CONTEXTS = 256
"""Contexts that are kept, each with the authorities that it trusts."""

_SESSIONS = 256
"""TLS sessions that a context keeps, each of some 2 KiB."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS is spoken to a hop.

    Without `ca` the authorities that this machine trusts are trusted. `pins` decide alone: with them neither the
    authority nor the name nor the dates of a certificate matter.

    Raises:
        ValueError: the key without its certificate.
    """

    name: str | None = None
    """The name that the certificate has to be for, and that is sent as SNI; None for the host of the hop's address."""
    ca: str | None = None
    """The path of a file with certificates of authorities (PEM)."""
    pins: tuple[bytes, ...] = ()
    client_cert: str | None = None
    """The path of the certificate to show, with its chain (PEM)."""
    client_key: str | None = None
    """The path of its key (PEM); None if that is in the same file."""
    alpn: tuple[str, ...] = ()
    """The protocols to offer (RFC 7301)."""
    _stamps: tuple[tuple[int, int] | None, ...] = field(init=False, repr=False)
    """Change when a file changes, so that a reload reads it again."""

    def __post_init__(self) -> None:
        if self.client_key and not self.client_cert:
            raise ValueError("client_key needs client_cert")
        files = (self.ca, self.client_cert, self.client_key)
        object.__setattr__(self, "_stamps", tuple(map(_stamp, files)))


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """How clients speak TLS to a listener."""

    cert: str
    """The path of its certificate, with its chain (PEM)."""
    key: str | None = None
    """The path of its key (PEM); None if that is in the same file."""
    client_ca: str | None = None
    """The path of a file with the authorities (PEM) of which each client needs a certificate; None if none does."""
    _stamps: tuple[tuple[int, int] | None, ...] = field(init=False, repr=False)
    """As those of `Tls`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_stamps", tuple(map(_stamp, (self.cert, self.key, self.client_ca))))


def _stamp(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


class HopContext(ssl.SSLContext):
    """The context for connections to hops, with TLS sessions that can be resumed: at most one for each hop.

    A session is used once. In TLS 1.3 its ticket goes in the clear, and would link two connections for those who see
    both (RFC 8446 appendix C.4).
    """

    def __init__(self, protocol: int) -> None:
        super().__init__()
        self._sessions: dict[Hashable, ssl.SSLSession] = {}

    def take_session(self, hop: Hashable) -> ssl.SSLSession | None:
        """Return the session to resume with a hop; None where there is none."""
        return self._sessions.pop(hop, None)

    def keep_session(self, hop: Hashable, session: ssl.SSLSession | None) -> None:
        """Keep a session for the next connection to a hop; the oldest one makes room."""
        if session and session.has_ticket:
            self._sessions[hop] = session
            if len(self._sessions) > _SESSIONS:
                del self._sessions[next(iter(self._sessions))]


@lru_cache(_CONTEXTS)
def context_of(tls: Tls) -> HopContext:
    """Return the context for connections to a hop; it is made once. That reads files.

    Raises:
        ValueError: a file is missing, or has no certificates or keys in it.
    """
    context = HopContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca:
        _load("ca", tls.ca, context.load_verify_locations)
    else:
        context.load_default_certs()
    if tls.pins:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client_cert:
        cert, key = tls.client_cert, tls.client_key
        _load("client_cert", cert, lambda path: context.load_cert_chain(path, key, password=_no_password))
    if tls.alpn:
        context.set_alpn_protocols(tls.alpn)
    return context


@lru_cache(_CONTEXTS)
def listener_context_of(tls: ListenerTls) -> ssl.SSLContext:
    """Return the context for connections to a listener; it is made once. That reads files.

    Raises:
        ValueError: as `context_of`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load("cert", tls.cert, lambda path: context.load_cert_chain(path, tls.key, password=_no_listener_password))
    if tls.client_ca:
        _load("client_ca", tls.client_ca, context.load_verify_locations)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load(key: str, path: str, load: Callable[[str], None]) -> None:
    try:
        load(path)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key}: the key is not the one of the certificate in {path}") from None
        reason = (error.reason or "no certificate").replace("_", " ").lower()
        raise ValueError(f"{key}: {path} is not what is expected, PEM: {reason}") from None
    except OSError as error:
        raise ValueError(f"{key}: {path}: {error.strerror}") from None


def _no_password() -> str:
    raise ValueError("client_key: it is encrypted, and there is no place for its password; decrypt it")


def _no_listener_password() -> str:
    raise ValueError("key: it is encrypted, and there is no place for its password; decrypt it")


def parse_pin(text: str) -> bytes:
    """Read ``sha256/`` and 44 characters of base64.

    Raises:
        ValueError: it is no pin.
    """
    match = _PIN(text)
    if match is None:
        raise ValueError('expected "sha256/" and 44 characters of base64, as `chainsocks probe` prints them')
    return b64decode(match[1])


def show_pin(pin: bytes) -> str:
    """Return a pin as it is written."""
    return f"sha256/{b64encode(pin).decode()}"
