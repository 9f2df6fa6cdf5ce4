"""httpx through a chain: a transport for ``httpx.AsyncClient``, under asyncio and trio, and one for ``httpx.Client``.

::

    async with httpx.AsyncClient(transport=AsyncChainTransport(chain)) as client:
        answer = await client.get("https://example.org/")

Both are built from what httpcore and httpx document: a pool of connections with a network of our own below it. Proxies
of the environment play no part, since httpx reads them for its own transport only.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.models import Timeouts
from chainsocks.integrations.httpcore import AsyncChainBackend, ChainBackend

__all__ = ["AsyncChainTransport", "ChainTransport"]

_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)  # httpx's own


class AsyncChainTransport(httpx.AsyncBaseTransport):
    """A transport for ``httpx.AsyncClient``. Connections with another `isolation` share no circuit with these.

    `verify`, `http1`, `http2` (which takes the package h2), `limits` and `retries` are those of
    ``httpx.AsyncHTTPTransport``.
    """

    def __init__(
        self,
        chain: Chain = DIRECT,
        *,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
        verify: ssl.SSLContext | bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = _LIMITS,
        retries: int = 0,
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(verify=verify),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=AsyncChainBackend(chain, timeouts, isolation),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the response, whose body is still to be read."""
        with _errors_of_httpx():
            answer = await self._pool.handle_async_request(_core_request(request))
        stream = answer.stream
        if not isinstance(stream, AsyncIterable):
            raise TypeError("httpcore's pool has returned a body that is not asynchronous")
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_AsyncBody(stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class ChainTransport(httpx.BaseTransport):
    """The same for ``httpx.Client``."""

    def __init__(
        self,
        chain: Chain = DIRECT,
        *,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
        verify: ssl.SSLContext | bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = _LIMITS,
        retries: int = 0,
    ) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(verify=verify),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=ChainBackend(chain, timeouts, isolation),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the response, whose body is still to be read."""
        with _errors_of_httpx():
            answer = self._pool.handle_request(_core_request(request))
        stream = answer.stream
        if not isinstance(stream, Iterable):
            raise TypeError("httpcore's pool has returned a body that is asynchronous")
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(stream), extensions=answer.extensions)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        if close := getattr(self._stream, "aclose", None):
            await close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _errors_of_httpx():
            yield from self._stream

    def close(self) -> None:
        if close := getattr(self._stream, "close", None):
            close()


def _core_request(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raise httpx's errors in place of httpcore's, which have the same names."""
    try:
        yield
    except Exception as error:
        kinds = (getattr(httpx, each.__name__, None) for each in type(error).__mro__ if each.__module__ == "httpcore")
        kind = next((each for each in kinds if each), None)
        if kind is None:
            raise
        raise kind(str(error)) from error
