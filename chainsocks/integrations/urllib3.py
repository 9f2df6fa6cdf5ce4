"""urllib3 through a chain: a pool manager.

::

    answer = ChainPoolManager(chain).request("GET", "https://example.org/")

A dial that fails is urllib3's ``NewConnectionError`` or ``ConnectTimeoutError``, with the message that names the hop.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from chainsocks import sync
from chainsocks.client.arguments import checked_chain
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, DialTimeout

__all__ = ["ChainPoolManager"]

_Dial = Callable[..., socket.socket]


class ChainPoolManager(urllib3.PoolManager):
    """A pool manager whose connections go through `chain`. Those with another `isolation` share no circuit with them.

    `options` are those of ``urllib3.PoolManager``.
    """

    def __init__(
        self,
        chain: Chain = DIRECT,
        *,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
        num_pools: int = 10,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(num_pools, headers, **options)
        dial = partial(sync.connect, chain=checked_chain(chain), timeouts=timeouts, isolation=isolation)
        self.pool_classes_by_scheme = _pool_classes(dial)


def _pool_classes(dial: _Dial) -> dict[str, type[HTTPConnectionPool]]:
    """Return the classes of pools whose connections are dialled so."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, dial)

    class Secured(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, dial)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecuredPool(HTTPSConnectionPool):
        ConnectionCls = Secured

    return {"http": PlainPool, "https": SecuredPool}


def _connect(connection: HTTPConnection, dial: _Dial) -> socket.socket:
    source = connection.source_address
    timeout = urllib3.Timeout.resolve_default_timeout(connection.timeout)
    try:
        sock = dial(connection.host, connection.port, timeout=timeout, local_host=source[0] if source else None)
    except DialTimeout as error:
        raise ConnectTimeoutError(connection, str(error)) from error
    except DialError as error:
        raise NewConnectionError(connection, str(error)) from error
    for option in connection.socket_options or ():
        sock.setsockopt(*option)
    return sock
