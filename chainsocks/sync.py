"""Connections for code without an event loop: requests, urllib3, paramiko, psycopg, redis and their like.

::

    sock = chainsocks.sync.connect("db.internal", 5432, chain=chain, timeout=10)

It can be called in every thread. Dials run in one thread in the background, which starts with the first call.
"""

from __future__ import annotations

import socket
from functools import partial

from chainsocks.bridge.sockets import Delivery, open_socket
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import HostLike, PortLike

__all__ = ["connect"]


def connect(
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    local_host: HostLike | None = None,
    isolation: str | None = None,
) -> socket.socket:
    """Connect to `host` and `port` through `chain`, and return a blocking socket.

    `timeout` bounds the call, and is the socket's timeout then, as with ``socket.create_connection``; None for the
    limits of `timeouts` alone, and a socket that waits for ever. The other arguments are those of
    `chainsocks.connect_tcp`.

    Through a hop in TLS, or with protection by GSSAPI, it is one of a pair of sockets on loopback, which the thread in
    the background relays.

    *Closing*: the socket is the caller's to close. Nothing is left open when this raises.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        ValueError: as `chainsocks.connect_tcp`.
    """
    delivery = Delivery(partial(open_socket, host, port, chain, timeout, timeouts, local_host, isolation))
    try:
        delivery.future.result()
    except BaseException:  # of the dial, or an interrupt while it ran
        delivery.refuse()
        raise
    sock = delivery.take()
    sock.settimeout(timeout)
    return sock
