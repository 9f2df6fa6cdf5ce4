"""Connections through a chain by asyncio's own interfaces: streams, and transports with protocols.

They run on the sockets of asyncio itself, and of uvloop, with TLS by them.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from chainsocks.bridge.sockets import Delivery, open_socket
from chainsocks.client.arguments import TlsLike, checked_timeouts, checked_tls
from chainsocks.client.raw_socket import connect_socket, why_not_bare
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.config.options import as_seconds
from chainsocks.errors import Cause, DestinationTlsError, DialError, DialTimeout, Place, Step
from chainsocks.protocol.address import Address, HostLike, PortLike

__all__ = ["create_connection", "open_connection"]

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)

_LIMIT = 2**16  # asyncio's own
_NAMES, _DATES = {62, 63, 64}, {9, 10}  # X509_V_ERR_*


async def open_connection(
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    tls: TlsLike | None = None,
    server_hostname: str | None = None,
    local_host: HostLike | None = None,
    isolation: str | None = None,
    limit: int = _LIMIT,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `host` and `port` through `chain`, as ``asyncio.open_connection`` does without one.

    `limit` is that of the reader's buffer. The other arguments, and what is raised, are those of `connect_tcp`.

    *Closing*: the caller closes the writer. Nothing is left open when this raises, or is cancelled.
    """
    reader = asyncio.StreamReader(limit)
    transport, protocol = await create_connection(
        partial(asyncio.StreamReaderProtocol, reader),
        host,
        port,
        chain=chain,
        timeout=timeout,
        timeouts=timeouts,
        tls=tls,
        server_hostname=server_hostname,
        local_host=local_host,
        isolation=isolation,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


async def create_connection(
    protocol_factory: Callable[[], ProtocolT],
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    tls: TlsLike | None = None,
    server_hostname: str | None = None,
    local_host: HostLike | None = None,
    isolation: str | None = None,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to `host` and `port` through `chain`, as the event loop's ``create_connection`` does without one.

    The arguments, and what is raised, are those of `connect_tcp`.

    *Closing*: the caller closes the transport. Nothing is left open when this raises, or is cancelled.
    """
    loop, destination = asyncio.get_running_loop(), destination_of(host, port)
    context = checked_tls(tls, server_hostname)
    until = math.inf if timeout is None else loop.time() + as_seconds(timeout, "the timeout")
    opening = partial(
        connect_socket if why_not_bare(chain) is None else _bridged,
        host,
        port,
        chain=chain,
        timeout=timeout,
        timeouts=timeouts,
        local_host=local_host,
        isolation=isolation,
    )
    sock = await opening()
    try:
        if context is None:
            return await loop.create_connection(protocol_factory, sock=sock)
        seconds = max(min(checked_timeouts(timeouts).hop, until - loop.time()), 1e-6)
        began = loop.time()
        try:
            return await loop.create_connection(
                protocol_factory,
                sock=sock,
                ssl=context,
                server_hostname=server_hostname or destination.host,
                ssl_handshake_timeout=seconds if math.isfinite(seconds) else None,
            )
        except (OSError, ssl.CertificateError) as error:
            raise _tls_error(destination, error, loop.time() - began, seconds) from error
    except BaseException:
        sock.close()
        raise


async def _bridged(
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain,
    timeout: float | None,
    timeouts: Timeouts | None,
    local_host: HostLike | None,
    isolation: str | None,
) -> socket.socket:
    delivery = Delivery(partial(open_socket, host, port, chain, timeout, timeouts, local_host, isolation))
    try:
        await asyncio.wrap_future(delivery.future)
    except BaseException:
        delivery.refuse()
        raise
    sock = delivery.take()
    sock.settimeout(0)
    return sock


def _tls_error(destination: Address, error: Exception, elapsed: float, limit: float) -> DialError:
    """Return the error for a TLS handshake that has failed under asyncio."""
    kind: type[DialError] = DestinationTlsError
    match error:
        case ssl.SSLCertVerificationError():
            problem = f"its certificate is not accepted: {error.verify_message}"
            cause = Cause.CERTIFICATE_UNTRUSTED
            if error.verify_code in _NAMES:
                cause = Cause.CERTIFICATE_NAME
            elif error.verify_code in _DATES:
                cause = Cause.CERTIFICATE_EXPIRED
        case ssl.SSLError():
            problem = f"TLS failed: {(error.reason or 'no reason').lower().replace('_', ' ')}"
            cause = Cause.TLS_FAILED
        case ConnectionAbortedError(errno=None):  # by the loop's own timer; uvloop's is up to a millisecond early
            kind, problem, cause = DialTimeout, "no complete answer", Cause.TIMED_OUT
        case _:
            problem, cause = "the connection ended", Cause.CLOSED
    place = Place(None, destination, Step.TLS)
    return kind(place, problem, cause, elapsed=elapsed, limit=limit, at_destination=True)
