"""``[limits]``: what one client may have of the server. All of it is off by default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chainsocks.config.listeners import UnixPath
from chainsocks.config.rules import Network

__all__ = ["Limit", "Limits"]


class Limit(StrEnum):
    """A limit that can be reached, by its key."""

    SESSIONS_PER_CLIENT = "sessions_per_client"
    SESSIONS_PER_USER = "sessions_per_user"
    NEW_PER_SECOND = "new_per_second"
    HANDSHAKES = "handshakes"
    BANDWIDTH = "bandwidth"
    BANDWIDTH_PER_USER = "bandwidth_per_user"
    FAILED_LOGINS = "failed_logins"


@dataclass(frozen=True, slots=True)
class Limits:
    """``[limits]``; None is no limit."""

    sessions_per_client: int | None = None
    """Sessions at a time of one address: an IPv4 address, an IPv6 /64, or all unix sockets together."""
    sessions_per_user: int | None = None
    """Sessions at a time of one user who has logged in, from all addresses together."""
    new_per_second: float | None = None
    """New sessions a second of one client: of a user who has logged in, otherwise of an address."""
    handshakes: int | None = None
    """Connections at a time without a complete request."""
    bandwidth: int | None = None
    """Bytes a second that all relays pass together, in both directions."""
    bandwidth_per_user: int | None = None
    """The same of one user who has logged in, or of an address without a login."""
    failed_logins: int | None = None
    """Wrong logins of one address before its next ones are delayed."""
    trusted: tuple[Network | UnixPath, ...] = ()
    """The networks of clients, and the unix sockets, that no limit is for."""
