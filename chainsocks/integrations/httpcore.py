"""The networks of httpcore's connection pools on a chain, for `chainsocks.integrations.httpx` and for httpcore alone.

A dial that fails is httpcore's ``ConnectError`` or ``ConnectTimeout``, with the message that names the hop, and with
the `DialError` as its cause.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import anyio
import httpcore
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from chainsocks import sync
from chainsocks.client.tcp import connect_tcp
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, DialTimeout

__all__ = ["AsyncChainBackend", "ChainBackend"]

_BROKEN = (BrokenResourceError, ClosedResourceError, ssl.SSLError, OSError)


class AsyncChainBackend(httpcore.AsyncNetworkBackend):
    """A network for ``httpcore.AsyncConnectionPool``, under asyncio and trio."""

    def __init__(self, chain: Chain = DIRECT, timeouts: Timeouts | None = None, isolation: str | None = None) -> None:
        self._chain = chain
        self._timeouts = timeouts
        self._isolation = isolation

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect through the chain."""
        with _dialling():
            stream = await connect_tcp(
                host,
                port,
                chain=self._chain,
                timeout=timeout,
                timeouts=self._timeouts,
                local_host=local_address,
                isolation=self._isolation,
            )
        _set(stream.extra(SocketAttribute.raw_socket), socket_options)
        return _AsyncStream(stream)

    async def sleep(self, seconds: float) -> None:
        """Sleep between retries."""
        await anyio.sleep(seconds)


class ChainBackend(httpcore.NetworkBackend):
    """A network for ``httpcore.ConnectionPool``."""

    def __init__(self, chain: Chain = DIRECT, timeouts: Timeouts | None = None, isolation: str | None = None) -> None:
        self._chain = chain
        self._timeouts = timeouts
        self._isolation = isolation

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect through the chain."""
        with _dialling():
            sock = sync.connect(
                host,
                port,
                chain=self._chain,
                timeout=timeout,
                timeouts=self._timeouts,
                local_host=local_address,
                isolation=self._isolation,
            )
        _set(sock, socket_options)
        return _Stream(sock)

    def sleep(self, seconds: float) -> None:
        """Sleep between retries."""
        time.sleep(seconds)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _errors(httpcore.ReadTimeout, httpcore.ReadError), anyio.fail_after(timeout):
            try:
                return await self._stream.receive(max_bytes)
            except EndOfStream:
                return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _errors(httpcore.WriteTimeout, httpcore.WriteError), anyio.fail_after(timeout):
            await self._stream.send(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            with _errors(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
                # Servers of HTTP often end without TLS's own end, and messages have lengths.
                return _AsyncStream(
                    await TLSStream.wrap(
                        self._stream, ssl_context=ssl_context, hostname=server_hostname, standard_compatible=False
                    )
                )
        except BaseException:
            await anyio.aclose_forcefully(self._stream)
            raise

    def get_extra_info(self, info: str) -> object:
        match info:
            case "ssl_object":
                return self._stream.extra(TLSAttribute.ssl_object, None)
            case "client_addr":
                return self._stream.extra(SocketAttribute.local_address, None)
            case "server_addr":
                return self._stream.extra(SocketAttribute.remote_address, None)
            case "socket":
                return self._stream.extra(SocketAttribute.raw_socket, None)
            case "is_readable":
                return _is_readable(self._stream.extra(SocketAttribute.raw_socket))
        return None


class _Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _errors(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(timeout)
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _errors(httpcore.WriteTimeout, httpcore.WriteError):
            self._socket.settimeout(timeout)
            self._socket.sendall(buffer)

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
                self._socket.settimeout(timeout)
                return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> object:
        match info:
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case "socket":
                return self._socket
            case "is_readable":
                return _is_readable(self._socket)
        return None


@contextmanager
def _dialling() -> Iterator[None]:
    try:
        yield
    except DialTimeout as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except DialError as error:
        raise httpcore.ConnectError(str(error)) from error


@contextmanager
def _errors(timeout: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error) or "it took too long") from error
    except _BROKEN as error:
        raise broken(str(error) or "the connection is closed") from error


def _set(sock: socket.socket, options: Iterable[httpcore.SOCKET_OPTION] | None) -> None:
    for option in options or ():
        sock.setsockopt(*option)  # type: ignore[arg-type]


def _is_readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: its end, most likely."""
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
