"""Who asks for a way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton

from chainsocks.config.hosts import host_of_ip

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A client, as far as the choice of its way may depend on it."""

    host: str = ""
    """Its IP address; empty on a unix socket."""
    user: bytes | None = field(default=None, repr=False)
    """The name that it has logged in with, or that its identd confirms; None where nobody has checked one."""

    @property
    def ips(self) -> tuple[bytes, ...]:
        """Its IP address as 4 or 16 bytes; nothing on a unix socket."""
        if not self.host:
            return ()
        if ":" in self.host:
            return host_of_ip(inet_pton(AF_INET6, self.host.partition("%")[0])).ips
        return (inet_pton(AF_INET, self.host),)
