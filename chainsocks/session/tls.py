"""TLS in a session: the handshake of a client, and the name that its certificate proves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyio.abc import ByteStream

from chainsocks.config.tls import ListenerTls, listener_context_of
from chainsocks.errors import Cause, LoginRefused, ProtocolError
from chainsocks.net.tls import TlsError, TlsStream

__all__ = ["accept_tls", "certificate_name"]

_LOGINS = {
    Cause.LOGIN_REQUIRED,
    Cause.CERTIFICATE_EXPIRED,
    Cause.CERTIFICATE_UNTRUSTED,
}
"""Causes that are about the certificate of the client."""


async def accept_tls(client: ByteStream, tls: ListenerTls) -> tuple[TlsStream, str]:
    """Speak TLS with a client from now on; return the stream, and the name in its certificate, "" without one.

    *Closing*: the caller closes `client`, also if this fails.

    Raises:
        LoginRefused: the client has no certificate that is accepted here.
        ProtocolError: the handshake failed otherwise.
        BrokenResourceError: the client's connection broke.
    """
    stream = TlsStream(client, listener_context_of(tls), is_server=True)
    try:
        await stream.handshake()
    except TlsError as error:
        kind = LoginRefused if error.cause in _LOGINS else ProtocolError
        raise kind(str(error), error.cause) from None
    if tls.client_ca is None:
        return stream, ""
    name = certificate_name(stream.verified)
    if name is None:
        raise LoginRefused("its certificate has no name, or several", Cause.LOGIN_REFUSED)
    return stream, name


def certificate_name(fields: Mapping[str, Any]) -> str | None:
    """Return the name in a certificate: the common name of its subject, or without one the only alternative name.

    `fields` are those of `ssl.SSLSocket.getpeercert`. None if there is no such name, or more than one.
    """
    names = [value for part in fields.get("subject", ()) for key, value in part if key == "commonName"]
    if not names:
        names = [value for _, value in fields.get("subjectAltName", ())]
    return names[0] if len(names) == 1 and names[0] else None
