"""aiohttp through a chain: a connector for ``aiohttp.ClientSession``.

::

    async with aiohttp.ClientSession(connector=ChainConnector(chain)) as session:
        async with session.get("https://example.org/") as answer: ...

Names go to the last hop. aiohttp has no documented place for a connect of another kind: this overrides the method that
makes a connection, and the tests hold it against aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from chainsocks.bridge.for_asyncio import create_connection
from chainsocks.client.arguments import checked_chain
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.models import Timeouts
from chainsocks.errors import DestinationTlsError, DialError, DialTimeout

__all__ = ["ChainConnector"]


class ChainConnector(aiohttp.TCPConnector):
    """A connector whose connections go through `chain`. Those with another `isolation` share no circuit with them.

    `options` are those of ``aiohttp.TCPConnector``, apart from the ones about names and addresses.
    """

    def __init__(
        self,
        chain: Chain = DIRECT,
        *,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(resolver=_Unresolved(), use_dns_cache=False, **options)
        self._chain = checked_chain(chain)
        self._timeouts = timeouts
        self._isolation = isolation

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: list[Any],
        req: aiohttp.ClientRequest,
        timeout: aiohttp.ClientTimeout,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        host, port = addr_infos[0][4][:2]
        try:
            return await create_connection(
                args[0],
                host,
                port,
                chain=self._chain,
                timeout=timeout.sock_connect,
                timeouts=self._timeouts,
                tls=kwargs.get("ssl"),
                server_hostname=kwargs.get("server_hostname"),
                isolation=self._isolation,
            )
        except DestinationTlsError as error:
            cause = error.__cause__
            if isinstance(cause, ssl.CertificateError):
                raise aiohttp.ClientConnectorCertificateError(req.connection_key, cause) from error
            raise aiohttp.ClientConnectorSSLError(req.connection_key, _told(error)) from error
        except DialTimeout:
            raise  # a TimeoutError, of which aiohttp makes its own
        except DialError as error:
            raise client_error(req.connection_key, _told(error)) from error


class _Unresolved(AbstractResolver):
    """Leaves names as they are."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [{"hostname": host, "host": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


def _told(error: DialError) -> OSError:
    """Return an error whose message, of which aiohttp shows only this part, names the hop."""
    return OSError(error.errno or 0, str(error))
