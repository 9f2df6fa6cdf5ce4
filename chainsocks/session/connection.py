"""An accepted connection, as its session gets it."""

from __future__ import annotations

from typing import NamedTuple

from anyio.abc import ByteStream

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Server

__all__ = ["Connection"]

[DEFAULT_LISTENER] = Server().listen


class Connection(NamedTuple):
    """A client's connection, where it came from, and by which listener. Its session closes `client`."""

    client: ByteStream
    name: str
    """The client's address for the log."""
    host: str = ""
    """The client's IP address, if it has one."""
    listener: Listener = DEFAULT_LISTENER
